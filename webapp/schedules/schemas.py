"""Schedules as JSON: the bodies that are read, and the answers."""

from typing import Any

from pydantic import Field

from webapp.errors import Invalid
from webapp.logs import masked
from webapp.schedules.queries import FiringView, ScheduleView
from webapp.schedules.timing import daily, monthly, weekly
from webapp.schedules.values import CatchUp, Overlap, ScheduleDraft
from webapp.web.schemas import ReasonText, Schema, Text


class Daily(Schema):
    """Every day at a time."""

    at: str


class Weekly(Schema):
    """Some days of every week at a time."""

    at: str
    days: list[str]


class Monthly(Schema):
    """One day of every month at a time; ``day`` is 1 to 31, or ``last``."""

    at: str
    day: int | str


class ScheduleBody(Schema):
    """What a schedule may be given; exactly one way of saying when."""

    type: Text | None = None
    arguments: dict[str, Any] | None = None
    cron: str | None = None
    daily: Daily | None = None
    weekly: Weekly | None = None
    monthly: Monthly | None = None
    timezone: str | None = None
    overlap: str | None = None
    catch_up: str | None = None
    priority: int | None = Field(default=None, ge=0, le=100)
    reason: ReasonText = ""

    def given(self) -> dict[str, Any]:
        """Return the fields of a draft that are given, whatever way its times are told."""
        names = {"type", "arguments", "timezone", "overlap", "catch_up"}
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        if "priority" in self.model_fields_set:
            values["priority"] = self.priority
        cron = self._cron()
        return values if cron is None else values | {"cron": cron}

    def _cron(self) -> str | None:
        ways = [
            name
            for name in ("cron", "daily", "weekly", "monthly")
            if getattr(self, name) is not None
        ]
        if len(ways) > 1:
            raise Invalid.field(ways[1], f"Only one of {' and '.join(ways)}.")
        if self.daily:
            return daily(self.daily.at)
        if self.weekly:
            return weekly(self.weekly.days, self.weekly.at)
        if self.monthly:
            return monthly(str(self.monthly.day), self.monthly.at)
        return self.cron


class NewSchedule(ScheduleBody):
    """The body that makes a schedule."""

    name: Text
    type: Text

    def draft(self) -> ScheduleDraft:
        """Return the schedule that is asked for."""
        given = {"arguments": {}, "overlap": Overlap.SKIP, "catch_up": CatchUp.ONE} | self.given()
        if "cron" not in given:
            raise Invalid.field("cron", "Say when: cron, daily, weekly or monthly.")
        return ScheduleDraft(name=self.name, **given)


#: The job that cleans up, and the name of its schedule.
CLEANUP = "cleanup"


class CleanupSchedule(Schema):
    """The body that makes the daily clean-up."""

    at: str = "03:30"
    timezone: str = "UTC"
    reason: ReasonText = "Daily clean-up"

    def draft(self) -> ScheduleDraft:
        """Return the schedule that is asked for."""
        return ScheduleDraft(
            name=CLEANUP,
            type=CLEANUP,
            arguments={},
            cron=daily(self.at),
            timezone=self.timezone,
            overlap=Overlap.SKIP,
            catch_up=CatchUp.ONE,
        )


class ScheduleUpdate(ScheduleBody):
    """The body that changes the fields given."""

    version: int | None = None


class Reasoned(Schema):
    """The body of a pause or a resume."""

    reason: ReasonText = ""
    version: int | None = None


def schedule_as_json(view: ScheduleView) -> dict[str, Any]:
    """Write a schedule, its arguments without what is secret."""
    return {
        "name": view.name,
        "type": view.type,
        "arguments": masked(view.arguments),
        "cron": view.cron,
        "cron_in_words": view.words,
        "timezone": view.timezone,
        "overlap": view.overlap,
        "catch_up": view.catch_up,
        "priority": view.priority,
        "enabled": view.enabled,
        "state": view.state,
        "problem": view.problem,
        "last_run_at": view.last_run_at,
        "next_run_at": view.next_run_at,
        "next_runs": [run.at for run in view.next_runs],
        "last_firing": firing_as_json(view.last) if view.last else None,
        "version": view.version,
        "created_at": view.created_at,
        "created_by": view.created_by,
        "updated_at": view.updated_at,
        "updated_by": view.updated_by,
    }


def firing_as_json(firing: FiringView) -> dict[str, Any]:
    """Write what became of one due time; ``drift_seconds`` is how late it fired."""
    return {
        "due_at": firing.due_at,
        "fired_at": firing.fired_at,
        "drift_seconds": firing.drift,
        "outcome": firing.outcome,
        "planned": firing.planned,
        "passed": firing.passed,
        "job_id": firing.job_id,
        "job_state": firing.job_state,
        "note": firing.note,
    }
