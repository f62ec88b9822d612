"""What the JSON API of accounts answers with, by type."""

from datetime import datetime
from typing import Literal

from webapp.accounts.queries import TokenState
from webapp.roles import Role
from webapp.web.openapi import Answer, Query, WindowQuery


class TokenResponse(Answer):
    """What whoever asks may do, and until when."""

    name: str
    role: Role
    environment: str | None
    expires_at: datetime | None


class AccessTokenResponse(Answer):
    """An access token, and for how many seconds it holds."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    expires_at: datetime
    role: Role


class UserResponse(Answer):
    """An account; ``last_sign_in_at`` is null where nobody has signed in yet."""

    id: int
    username: str
    role: Role
    active: bool
    created_at: datetime
    last_sign_in_at: datetime | None


class ChangedUserResponse(UserResponse):
    """An account that was made or changed; ``password`` is there where one was made up."""

    password: str | None = None


class ApiTokenResponse(Answer):
    """An API token: all but the token."""

    id: int
    name: str
    prefix: str
    role: Role
    environment: str | None
    state: TokenState
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    created_by: str


class MadeApiTokenResponse(ApiTokenResponse):
    """An API token that was just made: ``token`` is told now and never again."""

    token: str


class UsersQuery(WindowQuery):
    """Which accounts are wanted."""

    q: str
    role: Role
    active: bool


class ApiTokensQuery(WindowQuery):
    """Which API tokens are wanted."""

    q: str
    role: Role
    state: TokenState


class TokenRemovalQuery(Query):
    """Why a token is revoked, where the body does not say it."""

    reason: str
