"""Domain errors, raised by services and mapped to HTTP once, in ``webapp.web.problems``.

Nothing here knows of HTTP: an error says what is wrong with the request in the words of the
domain, and names the field where there is one.
"""

from collections.abc import Mapping, Sequence

FieldErrors = Mapping[str, Sequence[str]]


class DomainError(Exception):
    """A request that the domain refuses; ``detail`` is a sentence for a person."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(DomainError):
    """The thing that was named does not exist."""


class Conflict(DomainError):
    """The thing changed, or stands already, so that this request no longer fits it."""


class Underway(Conflict):
    """The same is being done already; ``retry_after`` is when to look again, in seconds."""

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Forbidden(DomainError):
    """Whoever asks may not do this."""


class Invalid(DomainError):
    """Input that breaks a rule; ``errors`` maps each field to its messages."""

    def __init__(self, detail: str, errors: FieldErrors | None = None) -> None:
        super().__init__(detail)
        self.errors: FieldErrors = errors or {}

    @classmethod
    def field(cls, name: str, message: str) -> "Invalid":
        """Refuse one field with one message."""
        return cls(f"{name}: {message}", {name: [message]})


class Throttled(DomainError):
    """Too many tries; ``retry_after`` is the wait in seconds."""

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """Something that this request needs is away for now."""


def words_of(error: BaseException) -> str:
    """Return what an error says; one that fails at that must not keep anything from ending."""
    try:
        return error.detail if isinstance(error, DomainError) else str(error)
    except Exception as fault:  # noqa: BLE001  # whatever its __str__ does
        return f"(its text cannot be had: {type(fault).__name__})"
