"""The metric families of this program, declared once each.

Whoever counts takes a family from here; ``/metrics`` shows them.  A label never holds an id of a
person or job, nor free text: each value of a label is a series that is kept for good.
"""

from prometheus_client import Counter

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
