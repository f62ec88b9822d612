"""The vocabulary of requests: what they may take, and what goes wrong beside the answer."""

from webapp.errors import Invalid


class AddressRefused(Invalid):
    """The address may not be called: it is not that of a public machine."""


class TimeLimitExceeded(TimeoutError):
    """A call took longer than it may."""


class AnswerTooLarge(Exception):
    """The other side sent more than was to be read."""
