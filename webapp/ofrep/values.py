"""The vocabulary of OFREP: why a flag answered, and what was wrong with a question."""

from enum import StrEnum


class FlagReason(StrEnum):
    """Why a flag has its value."""

    STATIC = "STATIC"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"


class ErrorCode(StrEnum):
    """What stands in the way of an answer."""

    PARSE_ERROR = "PARSE_ERROR"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    GENERAL = "GENERAL"
