"""Access tokens as a source of what tokens are worth, beside API tokens, which another one knows.

The signature is looked at once, when a token is first shown; after that the token book asks here
how its account stands, all tokens at once, as it asks for API tokens.  A token is worth something
for as long as its account is active, in the epoch and the role that the token was signed for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from webapp.accounts.policy import token_hash
from webapp.accounts.signatures import AccessClaims, looks_signed, read
from webapp.accounts.token_sources import TokenSource, TokenUse
from webapp.accounts.values import Standing, TokenGrant

FindStandings = Callable[[Collection[int]], Mapping[int, Standing]]


class SignedTokens:
    """The source of processes that have the secret and the database.

    ``find_standings`` tells by their ids how the accounts stand that may act; it raises
    ``SourceAway`` as a source does.  ``others`` knows all tokens that are not signed.
    """

    def __init__(self, others: TokenSource, find_standings: FindStandings, *, key: bytes) -> None:
        self.refresh_seconds = others.refresh_seconds
        self._others = others
        self._find_standings = find_standings
        self._key = key
        # By the hash of each token that was shown and has not run out.
        self._claims: dict[str, AccessClaims] = {}

    def find(self, text: str, *, now: datetime) -> TokenGrant | None:
        """Return what a token is worth."""
        if not looks_signed(text):
            return self._others.find(text, now=now)
        claims = read(text, self._key, now=now)
        if claims is None:
            return None
        grant = _grant(claims, self._find_standings([claims.user_id]))
        if grant is not None:
            self._claims[token_hash(text)] = claims
        return grant

    def refresh(self, keys: Sequence[str], *, now: datetime) -> Mapping[str, TokenGrant | None]:
        """Return what tokens are worth by now: one statement for each of the two kinds in use."""
        self._forget(now)
        signed = {key: self._claims[key] for key in keys if key in self._claims}
        rest = [key for key in keys if key not in signed]
        answers = dict(self._others.refresh(rest, now=now)) if rest else {}
        if signed:
            found = self._find_standings({claims.user_id for claims in signed.values()})
            answers |= {key: _grant(claims, found) for key, claims in signed.items()}
        return answers

    def note_uses(self, uses: Sequence[TokenUse]) -> None:
        """Have the uses of API tokens noted; an access token has no row of its own."""
        if rest := [use for use in uses if use.key not in self._claims]:
            self._others.note_uses(rest)

    def begin_process(self) -> None:
        """Make ready for use in a forked child."""
        self._others.begin_process()

    def close(self) -> None:
        """Let connections go."""
        self._claims = {}
        self._others.close()

    def _forget(self, now: datetime) -> None:
        for key, claims in list(self._claims.items()):
            if now >= claims.expires_at:
                self._claims.pop(key, None)


def _grant(claims: AccessClaims, found: Mapping[int, Standing]) -> TokenGrant | None:
    standing = found.get(claims.user_id)
    if standing is None or (standing.epoch, standing.role) != (claims.epoch, claims.role):
        return None
    return TokenGrant(
        kind="user",
        name=standing.username,
        role=claims.role,
        environment=None,
        expires_at=claims.expires_at,
    )
