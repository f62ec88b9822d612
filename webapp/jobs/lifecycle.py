"""Which state may follow which.  Pure: a table, and the questions that are asked of it."""

from webapp.jobs.values import JobState

_S = JobState

#: Everything that can happen to a job: the states it may happen in, and the state it leads to.
TRANSITIONS: dict[str, tuple[frozenset[JobState], JobState]] = {
    "dispatch": (frozenset({_S.SCHEDULED, _S.RETRYING, _S.QUEUED}), _S.QUEUED),
    "claim": (frozenset({_S.QUEUED, _S.SCHEDULED, _S.RETRYING}), _S.RUNNING),
    "succeed": (frozenset({_S.RUNNING}), _S.SUCCEEDED),
    "retry": (frozenset({_S.RUNNING}), _S.RETRYING),
    "release": (frozenset({_S.RUNNING}), _S.QUEUED),
    "bury": (frozenset({_S.RUNNING}), _S.DEAD),
    "stop": (frozenset({_S.RUNNING}), _S.CANCELED),
    "cancel": (frozenset({_S.SCHEDULED, _S.QUEUED, _S.RETRYING}), _S.CANCELED),
    "expire": (frozenset({_S.SCHEDULED, _S.QUEUED, _S.RETRYING}), _S.CANCELED),
    "revive": (frozenset({_S.DEAD, _S.CANCELED}), _S.QUEUED),
    "revive_later": (frozenset({_S.DEAD, _S.CANCELED}), _S.SCHEDULED),
    "hasten": (frozenset({_S.SCHEDULED, _S.RETRYING}), _S.QUEUED),
}

WAITING = frozenset({_S.SCHEDULED, _S.QUEUED, _S.RETRYING})
ACTIVE = WAITING | {_S.RUNNING}
ENDED = frozenset(_S) - ACTIVE


def sources_of(event: str) -> frozenset[JobState]:
    """Return the states in which ``event`` may happen."""
    return TRANSITIONS[event][0]


def target_of(event: str) -> JobState:
    """Return the state that ``event`` leads to."""
    return TRANSITIONS[event][1]


def may(event: str, state: JobState) -> bool:
    """Tell whether ``event`` may happen to a job in ``state``."""
    return state in TRANSITIONS[event][0]
