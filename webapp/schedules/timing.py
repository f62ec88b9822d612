"""When a cron expression is due in a time zone.  Pure: the moment to reckon from is an argument.

Local times are meant as a clock on the wall shows them.  One that does not exist, since the clock
went forward, is due at the next moment that exists; one that exists twice is due once, the first
time.  What is due in every hour goes by hours that pass and not by the clock: it neither pauses for
the hour that is shown twice nor hurries after the one that is left out.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from webapp.errors import Invalid
from webapp.schedules.values import MAX_CRON, CatchUp, Plan

#: Later than this a due time counts as missed.
LATE = timedelta(seconds=60)
#: As many due times as were missed are counted up to here.
MOST_COUNTED = 1000

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LAST_DAY = "last"
_FIELDS = 5
_STEPS = (60, 24, 31, 12, 7)
_STEP_NAMES = ("minute", "hour", "day of the month", "month", "day of the week")
_EVERY_HOUR = frozenset(range(24))
_AT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
_DAY_OF_MONTH = re.compile(r"0?[1-9]|[12]\d|3[01]", re.ASCII)
# The newest due time is looked for in the last hour first, then further back.
_SPANS = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366))
_MINUTE = timedelta(minutes=1)
# A page asks of each schedule what its expression means, and of the same again and again.
_KEPT_EXPRESSIONS = 1024
# Where an expression is only read, and no time is reckoned.
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def daily(at: str) -> str:
    """Return the cron of every day at a time such as ``06:30``."""
    hour, minute = _clock(at)
    return f"{minute} {hour} * * *"


def weekly(days: Sequence[str], at: str) -> str:
    """Return the cron of some days of every week, such as ``["mon", "thu"]``."""
    hour, minute = _clock(at)
    wanted = [day for day in DAYS if day in days]
    if not wanted or set(days) - set(DAYS):
        raise Invalid.field("days", f"Choose at least one of {', '.join(DAYS)}.")
    return f"{minute} {hour} * * {','.join(wanted)}"


def monthly(day: str, at: str) -> str:
    """Return the cron of one day of every month, 1 to 31, or ``last``."""
    hour, minute = _clock(at)
    if day == LAST_DAY:
        return f"{minute} {hour} L * *"
    if not _DAY_OF_MONTH.fullmatch(day):
        raise Invalid.field("day", f"A day from 1 to 31, or {LAST_DAY!r}.")
    return f"{minute} {hour} {int(day)} * *"


def _clock(at: str) -> tuple[int, int]:
    found = _AT.match(at)
    if not found:
        raise Invalid.field("at", "A time from 00:00 to 23:59, such as 06:30.")
    return int(found[1]), int(found[2])


@lru_cache(_KEPT_EXPRESSIONS)
def check_cron(cron: str) -> str:
    """Return an expression with its spaces made one kind; :class:`Invalid` says what is wrong.

    Five fields: minute, hour, day of the month, month, day of the week.  A field may hold ``*``,
    numbers, names of months and days, ranges, lists and steps; a day of the month also ``L`` and
    ``LW``, a day of the week ``5L`` and ``1#2``.
    """
    if len(cron) > MAX_CRON:
        raise Invalid.field("cron", f"Use at most {MAX_CRON} characters.")
    fields = cron.split()
    if len(fields) != _FIELDS:
        raise Invalid.field(
            "cron",
            "Five fields are needed: minute, hour, day of the month, month, day of the week.",
        )
    for field, most, name in zip(fields, _STEPS, _STEP_NAMES, strict=True):
        # Every 90 minutes is what people mean by */90, and not what cron makes of it.
        if any(int(step) >= most for step in re.findall(r"/([0-9]+)", field)):
            raise Invalid.field("cron", f"A step of the {name} must be less than {most}.")
    try:
        CronSim(cron, _ANY_TIME)
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ").replace("-", " ")
        raise Invalid.field("cron", f"The {wrong} cannot be read.") from None
    return " ".join(fields)


def check_zone(name: str) -> str:
    """Return the name of a time zone; :class:`Invalid` where there is none of that name."""
    if name not in zones():
        raise Invalid.field("timezone", "A time zone by its name, such as Europe/Berlin or UTC.")
    return name


@cache
def zones() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(available_timezones())


@lru_cache(_KEPT_EXPRESSIONS)
def in_words(cron: str) -> str:
    """Say in English when an expression is due."""
    spec = CronSim(cron, _ANY_TIME)
    words = spec.explain()
    if not spec.day_and:
        # Where both kinds of day are given, either will do.
        words = " or on ".join(words.rsplit(" and on ", 1))
    return words


def due_times(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Yield the due times after a moment, in UTC; they end where none comes within 50 years."""
    place = ZoneInfo(zone)
    here = after.astimezone(place)
    latest = after
    for moment in _hourly(cron, here) or _by_the_clock(cron, here, place):
        if moment > latest:
            latest = moment
            yield moment


def _hourly(cron: str, here: datetime) -> Iterator[datetime] | None:
    """Return the due times of what is due in every hour, None where some hours are meant."""
    minute, _, *days = cron.split()
    if not _is_due_every_hour(cron):
        return None
    # The star has it reckon by moments: each hour that passes, whatever it is called.
    spec = CronSim(" ".join((minute, "*", *days)), here)
    return (moment.astimezone(UTC) for moment in spec)


@lru_cache(_KEPT_EXPRESSIONS)
def _is_due_every_hour(cron: str) -> bool:
    hours: frozenset[int] = frozenset(CronSim(cron, _ANY_TIME).hours)
    return hours == _EVERY_HOUR


def _by_the_clock(cron: str, here: datetime, place: ZoneInfo) -> Iterator[datetime]:
    for local in CronSim(cron, here.replace(tzinfo=None, fold=0)):
        moment = local.replace(tzinfo=place)
        while not _exists(moment):
            moment += _MINUTE
        yield moment.astimezone(UTC)


def _exists(moment: datetime) -> bool:
    there_and_back = moment.astimezone(UTC).astimezone(moment.tzinfo)
    return there_and_back.replace(tzinfo=None) == moment.replace(tzinfo=None)


def next_after(cron: str, zone: str, after: datetime) -> datetime | None:
    """Return the first due time after a moment, None where none comes within 50 years."""
    return next(due_times(cron, zone, after), None)


def upcoming(cron: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """Return the next due times after a moment."""
    return list(islice(due_times(cron, zone, after), count))


def plan_firing(cron: str, zone: str, *, due_at: datetime, catch_up: str, now: datetime) -> Plan:
    """Decide what to do about a schedule whose time ``due_at`` has come.

    However many due times have passed, at most one fires: the newest.
    """
    newest = _newest(cron, zone, due_at, now)
    before = takewhile(lambda moment: moment < newest, due_times(cron, zone, due_at))
    passed = 0 if newest == due_at else 1 + sum(1 for _ in islice(before, MOST_COUNTED - 1))
    return Plan(
        due_at=newest,
        passed=passed,
        fires=catch_up == CatchUp.ONE or now - newest <= LATE,
        next_at=next_after(cron, zone, now),
    )


def _newest(cron: str, zone: str, due_at: datetime, now: datetime) -> datetime:
    """Return the newest due time until now, which is ``due_at`` where none followed it."""
    for start in (*(now - span for span in _SPANS), due_at):
        followers = due_times(cron, zone, max(start, due_at))
        newest = None
        for moment in takewhile(lambda moment: moment <= now, followers):
            newest = moment
        if newest:
            return newest
    return due_at
