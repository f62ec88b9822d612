"""What becomes of an alert: from how it stands, what holds and the time, to what follows.  Pure.

All rules of one metric that hold for one label are one alert; the worst of those that have held for
long enough is its severity.

```
            a rule holds          it has held for long enough
 (nothing) ────────────► pending ─────────────────────────────► firing ◄──────► acknowledged
                            │                                     │   it rises     │
                            └──► inactive                         └──► resolved ◄──┘
                     it holds no longer                          none holds any longer
```

People are told once when it fires, again after each cooldown while it fires, and once when it is
over, if they were told that it had begun.  A severity that rises above what they were last told is
told at once.  One that comes back within the cooldown is not told again, so what flaps does not
page each minute.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from webapp.alerts.values import (
    ACTIVE,
    OPEN,
    AlertEvent,
    AlertState,
    Direction,
    Mute,
    Reading,
    Severity,
    Telling,
)

#: Says of a rule why nobody is told of its alert now, None where people are.
Muting = Callable[[str], Mute | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A rule that holds for what an alert is about."""

    rule: str
    severity: Severity
    lasts: timedelta = timedelta()
    cooldown: timedelta = timedelta(minutes=30)
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an alert stands.

    ``holding`` says since when each rule has held.  ``told`` tells whether people think that it
    fires; ``told_at`` and ``told_severity`` are of the last time they were told so, maybe of an
    alert before this one.
    """

    state: AlertState = AlertState.INACTIVE
    severity: Severity | None = None
    rule: str = ""
    holding: Mapping[str, datetime] = field(default_factory=dict)
    told: bool = False
    told_at: datetime | None = None
    told_severity: Severity | None = None
    told_channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of an alert; ``begins`` where it is another one than that which had ended.

    ``telling`` is what ``channels`` are told, None for nothing; ``mute`` is why they are not.
    """

    after: Standing
    event: AlertEvent | None = None
    telling: Telling | None = None
    channels: tuple[str, ...] = ()
    mute: Mute | None = None
    begins: bool = False


def holds(comparison: Direction, threshold: float, least: int, reading: Reading) -> bool:
    """Tell whether a rule holds for what was measured; of too few it says nothing."""
    if reading.value is None or (reading.sample is not None and reading.sample < least):
        return False
    if comparison == Direction.BELOW:
        return reading.value < threshold
    return reading.value > threshold


def decide(before: Standing, held: Sequence[Held], *, muting: Muting, now: datetime) -> Decision:
    """Return what becomes of an alert that stands so, of which these rules hold now."""
    # A beginning that is still ahead is the error of a clock.
    holding = {item.rule: min(before.holding.get(item.rule, now), now) for item in held}
    ripe = [item for item in held if now - holding[item.rule] >= item.lasts]
    worst = _worst(ripe)
    if worst is not None:
        after, event = _fire(before, worst)
    elif before.state in ACTIVE:
        after, event = replace(before, state=AlertState.RESOLVED), AlertEvent.RESOLVED
    else:
        after, event = _wait(before, _worst(held))
    after = replace(after, holding=holding)
    mute = muting(after.rule)
    decision = Decision(
        after=after,
        event=event,
        mute=mute,
        begins=before.state not in OPEN and after.state in OPEN,
    )
    if mute is not None:
        return decision
    return _tell(decision, worst, ripe, now) if after.state in ACTIVE else _call_off(decision)


def _worst(held: Sequence[Held]) -> Held | None:
    """Return the worst of these rules; of several that are equally bad the first by name."""
    return min(held, key=lambda item: (-item.severity.rank, item.rule), default=None)


def _fire(before: Standing, worst: Held) -> tuple[Standing, AlertEvent | None]:
    after = replace(before, severity=worst.severity, rule=worst.rule)
    if before.state not in ACTIVE or before.severity is None:
        return replace(after, state=AlertState.FIRING), AlertEvent.FIRED
    if worst.severity.rank > before.severity.rank:
        # Whoever acknowledged it did not know that it would get worse.
        return replace(after, state=AlertState.FIRING), AlertEvent.ROSE
    return after, AlertEvent.FELL if worst.severity != before.severity else None


def _wait(before: Standing, worst: Held | None) -> tuple[Standing, AlertEvent | None]:
    """Decide about an alert that does not fire: it is pending while a rule holds."""
    if worst is None:
        if before.state != AlertState.PENDING:
            return before, None
        return replace(before, state=AlertState.INACTIVE), AlertEvent.WENT_AWAY
    after = replace(before, state=AlertState.PENDING, severity=worst.severity, rule=worst.rule)
    return after, None if before.state == AlertState.PENDING else AlertEvent.PENDING


def _tell(decision: Decision, worst: Held | None, ripe: Sequence[Held], now: datetime) -> Decision:
    """Have people told that it fires, where it is time and there is somebody to tell."""
    after = decision.after
    channels = tuple(dict.fromkeys(name for item in ripe for name in item.channels))
    if worst is None or after.state != AlertState.FIRING or not channels:
        return decision
    rises = after.told_severity is None or worst.severity.rank > after.told_severity.rank
    if not rises and _cools(after.told_at, worst.cooldown, now):
        return decision
    telling = Telling.FIRED
    if after.told:
        telling = Telling.ROSE if rises else Telling.STILL
    told = replace(
        after,
        told=True,
        told_at=now,
        told_severity=worst.severity,
        told_channels=tuple(
            dict.fromkeys((*(after.told_channels if after.told else ()), *channels))
        ),
    )
    return replace(decision, after=told, telling=telling, channels=channels)


def _cools(told_at: datetime | None, cooldown: timedelta, now: datetime) -> bool:
    # A time that is still ahead is the error of a clock, and keeps nobody from being told.
    return told_at is not None and timedelta() <= now - told_at < cooldown


def _call_off(decision: Decision) -> Decision:
    """Tell those who think that it fires that it is over."""
    after = decision.after
    if not after.told:
        return decision
    over = replace(after, told=False, told_channels=())
    return replace(decision, after=over, telling=Telling.RESOLVED, channels=after.told_channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A silence that has begun and not ended; an empty text stands for all."""

    rule: str
    label: str

    def covers(self, rule: str, label: str) -> bool:
        """Tell whether it silences the alert of a rule and label."""
        return self.rule in {"", rule} and self.label in {"", label}


def muting_of(label: str, silences: Sequence[Silence], *, inhibited: bool) -> Muting:
    """Return what mutes the alert of a label."""

    def mute(rule: str) -> Mute | None:
        if any(silence.covers(rule, label) for silence in silences):
            return Mute.SILENCED
        return Mute.INHIBITED if inhibited else None

    return mute


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A breaker of which people know that it is open, or was until ``ended_at``."""

    breaker: str
    ended_at: datetime | None


def explained(breakers: Sequence[str], outages: Sequence[Outage], *, since: datetime) -> bool:
    """Tell whether one of the breakers that a job type calls through explains its failures.

    It does while it is open, and as long as those of that time are still counted.
    """
    return any(
        outage.breaker in breakers and (outage.ended_at is None or outage.ended_at > since)
        for outage in outages
    )
