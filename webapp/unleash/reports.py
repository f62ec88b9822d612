"""What SDKs of Unleash have counted, as they send it: its shape, and the report that it becomes.

An SDK tells how often a flag was on and off, and how often each variant was given; it does not say
why.  Bounds are those of every report of usage.  The time is an argument.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from webapp.flags.batches import UsageBatch
from webapp.flags.reports import (
    MOST_ENTRIES,
    MOST_UNKNOWN,
    CountReport,
    UnknownReport,
    UsageReport,
    UseReport,
)
from webapp.flags.usage import is_storable
from webapp.flags.values import MAX_NAME, MAX_WORD
from webapp.web.schemas import Moment

#: The reason of what an SDK decided.
REASON: Final = "unleash_sdk"
# What an SDK gives where there is no variant to give.
_NO_VARIANT: Final = "disabled"
_MOST: Final = 2**31

Count = Annotated[int, Field(ge=0, le=_MOST)]


class _Told(BaseModel):
    """What SDKs send; they send more than is read here, and newer ones more than those."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)


class Registration(_Told):
    """The body of ``POST /api/client/register``: who will ask."""

    app: Annotated[str, Field(alias="appName", max_length=MAX_NAME)] = ""
    sdk: Annotated[str, Field(alias="sdkVersion", max_length=MAX_NAME)] = ""


class ToggleCounts(_Told):
    """How often a flag was on and off; each giving of a variant is among these."""

    yes: Count = 0
    no: Count = 0
    variants: Annotated[dict[str, Count], Field(max_length=MOST_UNKNOWN)] = Field(
        default_factory=dict
    )


class Bucket(_Told):
    """What was counted from one moment to another."""

    start: Moment
    stop: Moment
    toggles: Annotated[dict[str, ToggleCounts], Field(max_length=MOST_ENTRIES)]


class MetricsReport(_Told):
    """The body of ``POST /api/client/metrics``; one without a bucket has counted nothing."""

    bucket: Bucket | None = None

    def batch(self, flags: Collection[str], *, environment: str, now: datetime) -> UsageBatch:
        """Return what was counted of these flags; other names as those that nobody made."""
        if self.bucket is None:
            return UsageBatch()
        # Each has a row for off, one for on, and one for each variant.
        counts = tuple(_rows(self.bucket, flags, environment))[:MOST_ENTRIES]
        span = {"first": self.bucket.start, "last": self.bucket.stop}
        asked = {name: item.yes + item.no for name, item in self.bucket.toggles.items()}
        report = UsageReport(
            counts=counts,
            uses=tuple(
                UseReport(flag=name, **span) for name in asked if name in flags and asked[name]
            ),
            unknown=tuple(
                UnknownReport(name=name, count=count, **span)
                for name, count in asked.items()
                if count and name not in flags and is_storable(name, MAX_NAME)
            )[:MOST_UNKNOWN],
        )
        return report.batch(flags, now=now)


def _rows(bucket: Bucket, flags: Collection[str], environment: str) -> Iterator[CountReport]:
    for name, item in bucket.toggles.items():
        if name not in flags:
            continue
        given = {
            variant: count
            for variant, count in item.variants.items()
            if count and variant != _NO_VARIANT and is_storable(variant, MAX_WORD)
        }
        # Whoever asked for a variant is counted as on too.
        rest = max(0, item.yes - sum(given.values()))
        for variant, enabled, count in (
            *((variant, True, count) for variant, count in given.items()),
            ("", True, rest),
            ("", False, item.no),
        ):
            if count:
                yield CountReport(
                    flag=name,
                    hour=bucket.start,
                    environment=environment,
                    variant=variant,
                    enabled=enabled,
                    reason=REASON,
                    count=count,
                )
