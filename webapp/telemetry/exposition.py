"""Metrics as Prometheus reads them: what all processes of this host counted, and how things stand.

Gauges come from the database, asked when somebody scrapes: so a process that is gone leaves none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Metric,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

from webapp.breakers.values import BreakerState
from webapp.metrics import name_label
from webapp.telemetry.folder import folder, reading
from webapp.telemetry.standing import Standing

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: As a number, so that a rule can ask for more than 0.
BREAKER_NUMBERS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}

#: Name, what it is, and its label, for each gauge that is asked for when somebody scrapes.
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "circuit_breaker_state": ("0 is closed, 1 half open, 2 open.", ("breaker",)),
    "dlq_jobs": ("Dead letters; up to 10,001 of each are counted.", ("status",)),
    "dlq_oldest_age_seconds": ("Age of the oldest open dead letter.", ()),
    "queue_depth": ("Unfinished jobs; up to 10,001 of a state are counted.", ("queue", "state")),
    "workers_alive": ("Workers that showed life within a minute.", ()),
    "db_records_total": ("Records that are kept.", ("source_type",)),
    "alerts_firing": ("Alerts that fire, acknowledged ones too.", ("severity",)),
    "feature_flag_snapshot_age_seconds": ("Seconds since this process's flags were confirmed.", ()),
}

Ask = Callable[[], Standing]

# Its own families bear no route; requests are counted by ``webapp.web.metering``.
_exporter = PrometheusMetrics.for_app_factory(path=None, export_defaults=False)


class StandingCollector(Collector):
    """The gauges of one scrape; where the database does not answer, there are none of its."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield each gauge that has a value."""
        values = _values(self._ask())
        for name, (text, labels) in GAUGES.items():
            if samples := values.get(name):
                family = GaugeMetricFamily(name, text, labels=labels)
                for label_values, value in samples:
                    family.add_metric(label_values, value)
                yield family


def _values(standing: Standing) -> dict[str, list[tuple[tuple[str, ...], float]]]:
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {
        "circuit_breaker_state": [
            ((label,), number) for label, number in _by_label(standing.breakers).items()
        ],
        "dlq_jobs": [((status,), number) for status, number in standing.letters.items()],
        "queue_depth": [
            ((queue, state), number)
            for queue, states in standing.queues.items()
            for state, number in states.items()
        ],
        "db_records_total": [((kind,), number) for kind, number in standing.records.items()],
        "alerts_firing": [((severity,), number) for severity, number in standing.alerts.items()],
    }
    for name, value in (
        ("dlq_oldest_age_seconds", standing.oldest_letter_seconds),
        ("workers_alive", standing.workers),
        ("feature_flag_snapshot_age_seconds", standing.flags_age),
    ):
        if value is not None:
            found[name] = [((), value)]
    return found


def _by_label(breakers: Mapping[str, BreakerState]) -> dict[str, float]:
    """Return a number for each label; breakers that share one show the worst of them."""
    found: dict[str, float] = {}
    for name, state in breakers.items():
        label = name_label(name)
        found[label] = max(found.get(label, 0.0), BREAKER_NUMBERS[state])
    return found


def exposition(ask: Ask) -> bytes:
    """Write everything in Prometheus' text format."""
    asked = CollectorRegistry(auto_describe=False)
    asked.register(StandingCollector(ask))
    with _standing_still():
        counted: str = _exporter.generate_metrics("text/plain")[0]
    return counted.encode() + generate_latest(asked)


def serve(port: int) -> None:
    """Answer on a port of its own, by a thread, with what the processes of this host counted."""
    start_http_server(port, registry=_counted())


def _counted() -> CollectorRegistry:
    """Return what the processes of this host count, or this one alone where there is no folder."""
    if folder() is None:
        return REGISTRY
    everybody = CollectorRegistry(auto_describe=False)
    everybody.register(CountedCollector())
    return everybody


class CountedCollector(Collector):
    """What all processes of this host have counted."""

    def collect(self) -> Iterable[Metric]:
        """Return each family, added up."""
        with _standing_still():
            everybody = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
            return list(everybody.collect())  # type: ignore[no-untyped-call]


def _standing_still() -> AbstractContextManager[None]:
    path = folder()
    return reading(path) if path else nullcontext()
