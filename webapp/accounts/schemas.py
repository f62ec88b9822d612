"""Accounts as JSON: the bodies that are read, and the answers."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from webapp.accounts.queries import TokenView, UserView
from webapp.errors import Invalid
from webapp.roles import Role
from webapp.web.schemas import Moment, ReasonText, Schema, Text

# A body's strings are strict; a role is one of three.
RoleName = Annotated[Role, Field(strict=False)]


class Credentials(Schema):
    """The body that asks for an access token."""

    username: Text
    password: str


class NewUser(Schema):
    """The body that makes an account; without a password one is made up and answered once."""

    username: Text
    role: RoleName
    password: str | None = None


class UserUpdate(Schema):
    """The body that changes an account; an empty password has one made up."""

    role: RoleName | None = None
    active: bool | None = None
    password: str | None = None
    reason: ReasonText = ""

    def refuse_nothing(self) -> None:
        """Refuse a body that would change nothing."""
        if self.role is None and self.active is None and self.password is None:
            raise Invalid.field("body", "Give a role, active, a password, or several of them.")


class NewApiToken(Schema):
    """The body that makes a token."""

    name: Text = ""
    role: RoleName
    environment: Text | None = None
    expires_at: Moment | None = None


def user_as_json(user: UserView) -> dict[str, Any]:
    """Write an account."""
    return {
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "active": user.active,
        "created_at": user.created_at,
        "last_sign_in_at": user.last_sign_in_at,
    }


def token_as_json(token: TokenView) -> dict[str, Any]:
    """Write an API token: all but the token."""
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "role": token.role,
        "environment": token.environment,
        "state": token.state,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
        "created_at": token.created_at,
        "created_by": token.created_by,
    }


def access_token_as_json(
    text: str, *, role: Role, expires_at: datetime, seconds: int
) -> dict[str, Any]:
    """Write an access token as OAuth answers have it (RFC 6749, 5.1)."""
    return {
        "access_token": text,
        "token_type": "Bearer",
        "expires_in": seconds,
        "expires_at": expires_at,
        "role": role,
    }
