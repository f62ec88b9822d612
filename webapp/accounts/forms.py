"""The forms of accounts and tokens: their fields as they were typed.

Works on plain texts, so that it knows neither Flask nor the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from webapp.errors import Conflict, FieldErrors, Invalid
from webapp.roles import Role

ROLES = [(role.value, role.value.capitalize()) for role in Role]
LIFETIMES = [
    ("7", "In 7 days"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In a year"),
    ("", "Never"),
]


@dataclass(frozen=True, slots=True)
class UserForm:
    """What is typed of an account; passwords are never given back.

    ``about`` is which of the forms of an account's page it was typed into.
    """

    username: str = ""
    role: str = Role.VIEWER.value
    reason: str = ""
    errors: FieldErrors = field(default_factory=dict)
    about: str = ""

    @classmethod
    def read(cls, sent: Mapping[str, str], *, about: str = "") -> "UserForm":
        """Take what a browser sent."""
        return cls(
            username=sent.get("username", ""),
            role=sent.get("role", ""),
            reason=sent.get("reason", ""),
            about=about,
        )

    def chosen(self) -> Role:
        """Return the role that was chosen."""
        return chosen_role(self.role)


@dataclass(frozen=True, slots=True)
class TokenForm:
    """A token as it is typed."""

    name: str = ""
    role: str = Role.VIEWER.value
    environment: str = ""
    days: str = "90"
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "TokenForm":
        """Take what a browser sent."""
        return cls(
            name=sent.get("name", ""),
            role=sent.get("role", ""),
            environment=sent.get("environment", ""),
            days=sent.get("days", ""),
        )

    def chosen(self) -> Role:
        """Return the role that was chosen."""
        return chosen_role(self.role)

    def expires_at(self, at: datetime) -> datetime | None:
        """Return when the token is to run out, None for never."""
        if self.days not in dict(LIFETIMES):
            raise Invalid.field("days", "Choose one of these.")
        return at + timedelta(days=int(self.days)) if self.days else None


def chosen_role(text: str) -> Role:
    """Return the role that was chosen; :class:`Invalid` where there is none of that name."""
    if text not in set(Role):
        raise Invalid.field("role", "Choose one of the roles.")
    return Role(text)


def errors_at(error: Invalid | Conflict, place: str) -> FieldErrors:
    """Return the messages of a refusal by field, of one that names none at ``place``."""
    return error.errors if isinstance(error, Invalid) else {place: [error.detail]}
