"""The lifecycle of an alert, by tables and over any sequence of what is measured."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.alerts.lifecycle import (
    Decision,
    Held,
    Outage,
    Silence,
    Standing,
    decide,
    explained,
    holds,
    muting_of,
)
from webapp.alerts.values import (
    ACTIVE,
    AlertEvent,
    AlertState,
    Direction,
    Metric,
    Mute,
    Reading,
    Severity,
    Telling,
)

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WARN = Held(rule="warn", severity=Severity.WARNING, channels=("ops",))
BAD = Held(rule="bad", severity=Severity.ERROR, channels=("pager",))
SLOW = replace(WARN, rule="slow", lasts=5 * MINUTE)


@dataclass
class Story:
    """One alert and a clock of its own."""

    standing: Standing = field(default_factory=Standing)
    now: datetime = START
    mute: Mute | None = None
    told: list[tuple[int, Telling, Severity | None, tuple[str, ...]]] = field(default_factory=list)
    events: list[AlertEvent] = field(default_factory=list)

    def look(self, *held: Held, minutes: int = 1) -> Decision:
        """Decide once, and go on by so many minutes."""
        decision = decide(self.standing, held, muting=lambda _: self.mute, now=self.now)
        self.standing = decision.after
        minute = (self.now - START) // MINUTE
        if decision.event:
            self.events.append(decision.event)
        if decision.telling:
            severity = decision.after.severity
            self.told.append((minute, decision.telling, severity, decision.channels))
        self.now += minutes * MINUTE
        return decision

    def acknowledge(self) -> None:
        self.standing = replace(self.standing, state=AlertState.ACKNOWLEDGED)

    def told_what(self) -> list[tuple[int, Telling]]:
        return [(minute, telling) for minute, telling, _, _ in self.told]


@pytest.fixture
def story() -> Story:
    return Story()


def test_it_is_told_once_when_it_fires_and_once_when_it_is_over(story: Story) -> None:
    for held in ((), (WARN,), (WARN,), (), ()):
        story.look(*held)
    assert story.told == [
        (1, Telling.FIRED, Severity.WARNING, ("ops",)),
        (3, Telling.RESOLVED, Severity.WARNING, ("ops",)),
    ]
    assert story.events == [AlertEvent.FIRED, AlertEvent.RESOLVED]


def test_it_is_told_again_after_each_cooldown_while_it_lasts(story: Story) -> None:
    for _ in range(65):
        story.look(WARN)
    assert story.told_what() == [(0, Telling.FIRED), (30, Telling.STILL), (60, Telling.STILL)]


def test_it_waits_until_the_rule_has_held_for_long_enough(story: Story) -> None:
    states = [story.look(SLOW).after.state for _ in range(6)]
    assert states == [AlertState.PENDING] * 5 + [AlertState.FIRING]
    assert story.told_what() == [(5, Telling.FIRED)]


def test_what_goes_away_while_it_waits_is_told_to_nobody(story: Story) -> None:
    for held in ((SLOW,), (SLOW,), (), (SLOW,)):
        story.look(*held)
    assert story.told == []
    assert story.events == [AlertEvent.PENDING, AlertEvent.WENT_AWAY, AlertEvent.PENDING]
    assert story.standing.holding == {"slow": START + 3 * MINUTE}


def test_a_rise_passes_the_cooldown_and_a_fall_is_not_told(story: Story) -> None:
    for held in ((WARN,), (WARN, BAD), (WARN, BAD), (WARN,), (WARN, BAD)):
        story.look(*held)
    assert story.told == [
        (0, Telling.FIRED, Severity.WARNING, ("ops",)),
        (1, Telling.ROSE, Severity.ERROR, ("ops", "pager")),
    ]
    assert story.events == [AlertEvent.FIRED, AlertEvent.ROSE, AlertEvent.FELL, AlertEvent.ROSE]


def test_whoever_was_told_of_the_rise_is_told_of_the_end(story: Story) -> None:
    for held in ((WARN,), (WARN, BAD), (WARN,), ()):
        story.look(*held)
    assert story.told[-1] == (3, Telling.RESOLVED, Severity.WARNING, ("ops", "pager"))


def test_what_is_acknowledged_is_told_again_only_where_it_gets_worse(story: Story) -> None:
    story.look(WARN)
    story.acknowledge()
    for _ in range(100):
        assert story.look(WARN).after.state == AlertState.ACKNOWLEDGED
    assert story.look(WARN, BAD).after.state == AlertState.FIRING
    assert story.told_what() == [(0, Telling.FIRED), (101, Telling.ROSE)]


def test_the_end_of_what_is_acknowledged_is_told(story: Story) -> None:
    story.look(WARN)
    story.acknowledge()
    story.look()
    assert story.told_what() == [(0, Telling.FIRED), (1, Telling.RESOLVED)]


def test_what_flaps_does_not_page_each_minute(story: Story) -> None:
    for _ in range(31):
        story.look(WARN)
        story.look()
    assert story.told_what() == [
        (0, Telling.FIRED),
        (1, Telling.RESOLVED),
        (30, Telling.FIRED),
        (31, Telling.RESOLVED),
        (60, Telling.FIRED),
        (61, Telling.RESOLVED),
    ]
    assert story.events == [AlertEvent.FIRED, AlertEvent.RESOLVED] * 31


def test_what_is_silenced_changes_its_state_and_is_told_when_the_silence_is_over(
    story: Story,
) -> None:
    story.mute = Mute.SILENCED
    for _ in range(5):
        decision = story.look(WARN)
    assert decision.after.state == AlertState.FIRING
    assert (decision.mute, story.told) == (Mute.SILENCED, [])
    story.mute = None
    story.look(WARN)
    assert story.told_what() == [(5, Telling.FIRED)]


def test_what_ends_in_silence_is_called_off_after_it_for_those_who_know_of_it(
    story: Story,
) -> None:
    story.look(WARN)
    story.mute = Mute.SILENCED
    story.look()
    assert story.standing.state == AlertState.RESOLVED
    story.look()
    story.mute = None
    story.look()
    story.look()
    assert story.told_what() == [(0, Telling.FIRED), (3, Telling.RESOLVED)]


def test_what_began_and_ended_in_silence_is_never_told(story: Story) -> None:
    story.mute = Mute.INHIBITED
    story.look(WARN)
    story.look()
    story.mute = None
    story.look()
    assert story.told == []


def test_a_rule_that_tells_nobody_fires_and_is_told_once_it_has_a_channel(story: Story) -> None:
    quiet = replace(WARN, channels=())
    story.look(quiet)
    story.look(quiet)
    assert (story.standing.state, story.told) == (AlertState.FIRING, [])
    story.look(WARN)
    assert story.told_what() == [(2, Telling.FIRED)]


def test_what_comes_back_is_another_alert(story: Story) -> None:
    begins = [story.look(*held).begins for held in ((WARN,), (WARN,), (), (WARN,), (SLOW,), ())]
    assert begins == [True, False, False, True, False, False]


def test_a_clock_that_was_ahead_keeps_nobody_from_being_told(story: Story) -> None:
    story.look(WARN)
    story.now = START - timedelta(hours=3)
    assert story.look(WARN).telling == Telling.STILL


@pytest.mark.parametrize(
    ("comparison", "value", "sample", "held"),
    [
        (Direction.ABOVE, 20.0, 5, False),
        (Direction.ABOVE, 20.1, 5, True),
        (Direction.ABOVE, 100.0, 4, False),
        (Direction.ABOVE, None, 9, False),
        (Direction.ABOVE, 20.1, None, True),
        (Direction.BELOW, 20.0, 5, False),
        (Direction.BELOW, 19.9, 5, True),
        (Direction.BELOW, 0.0, 4, False),
        (Direction.BELOW, None, None, False),
    ],
)
def test_a_rule_holds_beyond_its_threshold_and_for_enough(
    comparison: Direction, value: float | None, sample: int | None, held: bool
) -> None:
    reading = Reading(metric=Metric.JOB_FAILURE_RATE, value=value, sample=sample)
    assert holds(comparison, 20.0, 5, reading) is held


@pytest.mark.parametrize(
    ("silence", "covered"),
    [
        (Silence(rule="warn", label=""), True),
        (Silence(rule="", label="etl"), True),
        (Silence(rule="warn", label="etl"), True),
        (Silence(rule="bad", label=""), False),
        (Silence(rule="", label="other"), False),
        (Silence(rule="warn", label="other"), False),
        (Silence(rule="bad", label="etl"), False),
    ],
)
def test_a_silence_covers_its_rule_its_label_or_both(silence: Silence, covered: bool) -> None:
    mute = muting_of("etl", [silence], inhibited=False)("warn")
    assert mute == (Mute.SILENCED if covered else None)
    assert muting_of("etl", [silence], inhibited=True)("warn") == (
        Mute.SILENCED if covered else Mute.INHIBITED
    )


@pytest.mark.parametrize(
    ("outage", "is_explained"),
    [
        (Outage(breaker="billing", ended_at=None), True),
        (Outage(breaker="billing", ended_at=START + MINUTE), True),
        (Outage(breaker="billing", ended_at=START), False),
        (Outage(breaker="other", ended_at=None), False),
    ],
)
def test_a_breaker_explains_failures_while_they_are_counted(
    outage: Outage, is_explained: bool
) -> None:
    assert explained(["billing", "mail"], [outage], since=START) is is_explained


RULES = [
    Held(
        rule=f"rule{number}",
        severity=severity,
        lasts=lasts * MINUTE,
        cooldown=cooldown * MINUTE,
        channels=channels,
    )
    for number, (severity, lasts, cooldown, channels) in enumerate(
        [
            (Severity.INFO, 0, 10, ("a",)),
            (Severity.WARNING, 2, 10, ("a", "b")),
            (Severity.ERROR, 0, 10, ()),
            (Severity.CRITICAL, 3, 10, ("c",)),
        ]
    )
]
COOLDOWN = 10
LOOKS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(range(len(RULES)))),
        st.sampled_from([None, None, None, Mute.SILENCED, Mute.INHIBITED]),
        st.booleans(),
    ),
    max_size=60,
)


def told_by(looks: list[tuple[set[int], Mute | None, bool]]) -> Story:
    """Look once a minute at what holds; some alerts are acknowledged as soon as they fire."""
    story = Story()
    for numbers, mute, acknowledges in looks:
        story.mute = mute
        story.look(*(RULES[number] for number in sorted(numbers)))
        if acknowledges and story.standing.state == AlertState.FIRING:
            story.acknowledge()
    return story


@given(LOOKS)
def test_nobody_is_told_twice_within_a_cooldown_unless_it_got_worse(
    looks: list[tuple[set[int], Mute | None, bool]],
) -> None:
    firing = [item for item in told_by(looks).told if item[1] != Telling.RESOLVED]
    for (before, _, was, _), (after, _, severity, _) in pairwise(firing):
        assert was is not None
        assert severity is not None
        assert after - before >= COOLDOWN or severity.rank > was.rank


@given(LOOKS)
def test_an_end_is_told_once_to_those_who_know_that_it_began_and_to_all_of_them(
    looks: list[tuple[set[int], Mute | None, bool]],
) -> None:
    knowing: set[str] = set()
    for _, telling, _, channels in told_by(looks).told:
        if telling == Telling.RESOLVED:
            assert knowing
            assert set(channels) == knowing
            knowing = set()
        else:
            assert channels
            assert (telling == Telling.FIRED) is (not knowing)
            knowing |= set(channels)


@given(LOOKS)
def test_the_worst_rule_that_has_held_for_long_enough_is_the_severity(
    looks: list[tuple[set[int], Mute | None, bool]],
) -> None:
    story = Story()
    since: dict[int, int] = {}
    for minute, (numbers, mute, _) in enumerate(looks):
        since = {number: since.get(number, minute) for number in numbers}
        ripe = [RULES[n] for n in since if (minute - since[n]) * MINUTE >= RULES[n].lasts]
        story.mute = mute
        after = story.look(*(RULES[number] for number in sorted(numbers))).after
        assert (after.state in ACTIVE) is bool(ripe)
        if ripe:
            assert after.severity == max(ripe, key=lambda item: item.severity.rank).severity


@given(LOOKS)
def test_once_nothing_holds_or_mutes_everybody_knows_that_it_is_over(
    looks: list[tuple[set[int], Mute | None, bool]],
) -> None:
    story = told_by(looks)
    story.mute = None
    story.look()
    story.look()
    assert story.standing.state not in ACTIVE
    assert not story.standing.told
    assert not story.told or story.told[-1][1] == Telling.RESOLVED
