"""What workers keep to besides the ledger: what is paused, and how often a type is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import select

from webapp.db import DbSession
from webapp.jobs.models import JobQueue, JobTypeSetting
from webapp.jobs.registry import JobType

#: The numbers of a policy that operators may set.
POLICY = ("max_retries", "initial_delay", "backoff_factor", "max_delay", "jitter")


@dataclass(frozen=True, slots=True)
class Steering:
    """What operators have set, as it stood a moment ago.

    ``only_queues`` are those that this worker takes jobs from; where it is empty, it takes all.
    """

    paused_queues: frozenset[str] = frozenset()
    paused_types: frozenset[str] = frozenset()
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    only_queues: frozenset[str] = frozenset()

    def serves(self, queue: str) -> bool:
        """Tell whether jobs of this queue are to be taken here."""
        return queue not in self.paused_queues and (
            not self.only_queues or queue in self.only_queues
        )

    def holds_back(self, queue: str, type_name: str) -> bool:
        """Tell whether jobs of this queue and type are not to begin."""
        return queue in self.paused_queues or type_name in self.paused_types

    def applied_to(self, kind: JobType) -> JobType:
        """Return a type with what operators have set for it."""
        given = self.settings.get(kind.name)
        if not given:
            return kind
        policy = {name: value for name, value in given.items() if name in POLICY}
        return replace(
            kind,
            policy=replace(kind.policy, **policy),  # type: ignore[arg-type]  # each as its column
            timeout=given.get("timeout", kind.timeout),
        )


#: Where nobody has set anything.
UNSTEERED = Steering()


def read_steering(session: DbSession) -> Steering:
    """Return what operators have set: two statements."""
    paused = select(JobQueue.name).where(JobQueue.paused_at.is_not(None))
    queues = frozenset(session.scalars(paused))
    rows = session.scalars(select(JobTypeSetting)).all()
    names = (*POLICY, "timeout")
    given = {
        row.type: {name: value for name in names if (value := getattr(row, name)) is not None}
        for row in rows
    }
    return Steering(
        queues,
        frozenset(row.type for row in rows if row.paused_at is not None),
        {name: values for name, values in given.items() if values},
    )
