"""Who may do what: three roles, each of which may do all that the one before it may."""

from enum import StrEnum


class Role(StrEnum):
    """What a person or a program is allowed to do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Tell whether whoever has this role may do what ``needed`` may."""
        return _RANK[self] >= _RANK[needed]


_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
