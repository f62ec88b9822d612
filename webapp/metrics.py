"""The metric families of this program, declared once each.

Whoever counts takes a family from here; ``/metrics`` shows them.  A label never holds an id of a
person or job, nor free text: each value of a label is a series that is kept for good.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import Counter, Histogram, disable_created_metrics

# When a series began is known to whoever scrapes; told, it would double the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call]


class BulkHistogram(Histogram):
    """A histogram that takes many observations for little more than the price of one."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        """Count all of these, with one step for their sum and one for each bucket that is hit."""
        self._sum.inc(sum(amounts))
        hit = Tally(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for bucket, number in hit.items():
            self._buckets[bucket].inc(number)


_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

#: The endpoint is the route, such as ``/jobs/<int:job_id>``, and never the path.
API_REQUESTS = Counter(
    "api_requests", "Requests that were answered.", ("method", "endpoint", "status")
)
API_REQUEST_DURATION = Histogram(
    "api_request_duration_seconds",
    "Seconds that answers took.",
    ("method", "endpoint", "status"),
    buckets=_QUICK,
)
#: Outcome is as in an attempt: succeeded, failed, canceled, deferred, released.
JOB_RUNS = Counter("job_runs", "Attempts that were settled.", ("job_type", "outcome"))
JOB_DURATION = BulkHistogram(
    "job_duration_seconds", "Seconds that attempts took.", ("job_type",), buckets=_LONG
)
JOB_WAIT = BulkHistogram(
    "job_wait_seconds",
    "Seconds from when a job was due to its start.",
    ("job_type",),
    buckets=_LONG,
)
JOB_RETRIES = Counter(
    "job_retries",
    "Failed attempts that are to be repeated.",
    ("job_type", "error_class", "strategy"),
)
DLQ_ADDED = Counter("dlq_added", "Jobs that became dead letters.", ("job_type",))
DLQ_RETRIES = Counter("dlq_retries", "Dead letters whose job was run again.", ("job_type",))
DLQ_RESOLVED = Counter("dlq_resolved", "Dead letters that were closed by hand.", ("job_type",))
ETL_PROCESSED = Counter("etl_records_processed", "Rows that runs have read.", ("source_type",))
ETL_INSERTED = Counter("etl_records_inserted", "Records that were new.", ("source_type",))
ETL_FAILED = Counter("etl_records_failed", "Rows that were rejected.", ("source_type",))
ETL_RUNS = Counter("etl_runs", "Runs that came to an end of their own.", ("source_type", "status"))
ETL_RUN_DURATION = Histogram(
    "etl_run_duration_seconds",
    "Seconds from the start of a run to its end, pauses included.",
    ("source_type",),
    buckets=_LONG,
)
#: Kind is added, removed, retyped or renamed.
SCHEMA_DRIFT = Counter(
    "schema_drift_detected", "Changes of the fields of sources, by kind.", ("source_name", "kind")
)
#: Counted in bulk, some seconds later: evaluation itself does not wait for a counter.
FLAG_EVALUATIONS = Counter(
    "feature_flag_evaluations", "Decisions of flags.", ("flag", "enabled", "reason")
)
#: A hit was answered from the flags in memory, a miss had those read.  Told with evaluations.
FLAG_CACHE_REQUESTS = Counter(
    "feature_flag_cache_requests", "Decisions from memory, and reads of flags.", ("outcome",)
)
ROLLOUT_STEPS = Counter("feature_flag_rollout_steps", "Steps of plans that were due and taken.")
#: Action is halt or roll_back.
GUARD_TRIPS = Counter(
    "feature_flag_guard_trips", "Rollouts that guards have stopped, by what they did.", ("action",)
)

#: Ends of guarded calls: outcome is success, failure or neutral.
BREAKER_CALLS = Counter(
    "circuit_breaker_calls", "Calls that a breaker let through, by outcome.", ("breaker", "outcome")
)
BREAKER_FAILURES = Counter(
    "circuit_breaker_failures", "Calls whose failure counted against a breaker.", ("breaker",)
)
BREAKER_BLOCKED = Counter(
    "circuit_breaker_blocked", "Calls that an open breaker refused.", ("breaker",)
)
BREAKER_TRANSITIONS = Counter(
    "circuit_breaker_transitions", "Changes of a breaker's state.", ("breaker", "to")
)
BREAKER_OPEN_SECONDS = Counter(
    "circuit_breaker_open_seconds", "Seconds that breakers stood open.", ("breaker",)
)
GUARD_RETRIES = Counter(
    "guard_retries", "Calls that were repeated.", ("guard", "error_class", "strategy")
)
GUARD_RETRIES_REFUSED = Counter(
    "guard_retries_refused", "Calls not repeated since the budget of retries was spent.", ("guard",)
)
#: Outcome is stored, replayed, conflict (the first still runs) or mismatch (another request).
IDEMPOTENCY_REQUESTS = Counter(
    "idempotency_requests", "Requests with an idempotency key, by outcome.", ("outcome",)
)
#: Outcome is allowed, waited or refused.
RATE_LIMIT_HITS = Counter(
    "rate_limit_hits", "Calls that asked a source's rate limit.", ("source", "outcome")
)

#: What begins the names of guards that go on with a host that somebody typed.
_TYPED = frozenset({"callback", "webhook"})
MOST_NAMES = 200
OTHER_NAMES = "other"
_names: set[str] = set()


def name_label(name: str) -> str:
    """Return the label for the name of a guard, of which a process has a bounded number.

    Hosts that people typed are one series by kind; beyond so many names the others are one too.
    """
    kind, colon, _ = name.partition(":")
    if colon and kind in _TYPED:
        return f"{kind}:*"
    if name not in _names and len(_names) >= MOST_NAMES:
        return OTHER_NAMES
    _names.add(name)
    return name
