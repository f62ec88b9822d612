"""The rate limits of this process, by name; a name without a limit costs nothing."""


class RateLimit:
    """How often calls under one name may be made."""

    def __init__(self, name: str) -> None:
        self.name = name

    def acquire(self, *, wait: float = 0.0) -> None:
        """Count a call, after up to ``wait`` seconds; ``Throttled`` where it may not be made."""

    async def acquire_async(self, *, wait: float = 0.0) -> None:
        """Count a call as :meth:`acquire` does, without holding the event loop."""

    def pause(self, seconds: float) -> None:
        """Let no call through for so long, since the other side said so; shared as counts are."""


_limits: dict[str, RateLimit] = {}


def rate_limit(name: str) -> RateLimit:
    """Return the rate limit of the calls under ``name``; equal names share one."""
    return _limits.get(name) or _limits.setdefault(name, RateLimit(name))
