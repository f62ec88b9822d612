"""What one beat of a process has to write of its circuits, and the writing of it.

Circuits are written in order of their names, each with all that there is of it: processes that
write at the same time wait for one another, and never in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from webapp.breakers.recording import add_tallies, add_uses
from webapp.breakers.transitions import (
    FailureCount,
    declare,
    end_force,
    end_trial,
    record_failures,
    record_transition,
    register,
    take_trial,
)
from webapp.breakers.values import SharedState, Tally, Thresholds, Transition, TrialEnd

News = Transition | TrialEnd


@dataclass(slots=True)
class Known:
    """What this process knows of one circuit in the store.

    ``overtaken`` is the generation up to which its own transitions have been overtaken by somebody
    else's, ``failures`` and ``tally`` are what it last told, ``lease`` is until when its trial may
    run.  ``declared`` says that its thresholds have been compared with the store's.  ``counted`` is
    what the circuit had counted at the last look, and ``used_at`` when that was something new.
    """

    version: int = 0
    revision: int = -1
    failures: int = 0
    overtaken: int = -1
    declared: bool = False
    lease: datetime | None = None
    tally: Tally = field(default_factory=Tally)
    counted: Tally = field(default_factory=Tally)
    used_at: float = float("inf")


@dataclass(slots=True, kw_only=True)
class CircuitWork:
    """What there is to write of one circuit.

    ``trial_seconds`` is for how long a trial that a call asks for is kept from other processes;
    None where none asks.
    """

    missing: SharedState | None = None
    declared: Thresholds | None = None
    force_over: SharedState | None = None
    count: FailureCount | None = None
    news: list[News] = field(default_factory=list)
    trial_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one beat has to write: of each circuit by name, and counts with who made the calls.

    ``tallies`` are all that was counted and what of it is new.
    """

    circuits: Mapping[str, CircuitWork]
    tallies: Mapping[str, tuple[Tally, Tally]]
    uses: Mapping[str, set[str]]

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(self.circuits or self.tallies)

    @property
    def news(self) -> Iterable[News]:
        """Return the news of all circuits."""
        return [item for circuit in self.circuits.values() for item in circuit.news]


@dataclass(frozen=True, slots=True)
class Written:
    """What has been written: the versions that followed, and the answers about trials.

    An answer is how the circuit stands, and whether the trial is this process's.
    """

    versions: Mapping[str, int]
    answers: Sequence[tuple[SharedState, bool]]


def write(
    session: Session,
    work: Work,
    known: Mapping[str, Known],
    *,
    now: datetime,
    clock_ahead: timedelta,
) -> Written:
    """Write one beat's work in the session's transaction; nothing is remembered before it stands.

    ``clock_ahead`` is by how much the clock is ahead that the news have their times from.
    """
    versions: dict[str, int] = {}
    answers = []
    for name in sorted(work.circuits):
        circuit = work.circuits[name]
        before = known.get(name, Known())
        versions[name] = _write_circuit(session, name, circuit, before, now, clock_ahead)
        if circuit.trial_seconds is not None:
            # After the news: the end of this process's last trial lets the next one begin.
            state, ours = take_trial(session, name, seconds=circuit.trial_seconds, now=now)
            answers += [(state, ours)] if state is not None else []
    add_tallies(session, {name: new for name, (_, new) in work.tallies.items()}, now=now)
    add_uses(session, work.uses, now=now)
    return Written(versions, answers)


def _write_circuit(
    session: Session,
    name: str,
    work: CircuitWork,
    known: Known,
    now: datetime,
    clock_ahead: timedelta,
) -> int:
    """Write what there is of one circuit, and return the version that it has then."""
    version = known.version
    if work.missing is not None:
        register(session, work.missing, now=now)
        version = version or 1
    if work.declared is not None:
        declare(session, name, work.declared, now=now)
    if work.force_over is not None:
        end_force(session, name, version=work.force_over.version, now=now)
    if work.count is not None:
        record_failures(session, work.count, now=now)
    for item in work.news:
        version = _tell(session, item, known, version, now, clock_ahead)
    return version


def _tell(
    session: Session,
    item: News,
    known: Known,
    version: int,
    now: datetime,
    clock_ahead: timedelta,
) -> int:
    """Write one piece of news, and return the version that the circuit has then."""
    if isinstance(item, TrialEnd):
        # It ends a trial of the generation that its lease began.
        if item.generation == known.overtaken and known.lease is not None:
            end_trial(session, item, version=version, lease=known.lease, now=now)
        return version
    # What happened here since was decided elsewhere.
    told = replace(item, at=item.at - clock_ahead)
    if item.generation > known.overtaken and record_transition(session, told, version=version):
        return version + 1
    return version
