"""One way to call out: retry, breaker, time limit, fallback and log around one call.

>>> response = guard("billing", retry=SHORT_RETRY, timeout=10).get("https://billing.example/")
"""

from webapp.guards.calls import Guard, guard

__all__ = ["Guard", "guard"]
