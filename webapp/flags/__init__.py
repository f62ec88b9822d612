"""Feature flags: is a feature on for this subject, here and now, and why."""

from webapp.flags.decorators import evaluate, feature_flag, is_enabled

__all__ = ["evaluate", "feature_flag", "is_enabled"]
