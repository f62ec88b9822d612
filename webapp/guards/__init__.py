"""One way to call out: retry, breaker, limits, fallback and log around one call.

>>> response = guard("billing", retry=SHORT_RETRY, timeout=10).get("https://billing.example/")
"""

from webapp.guards.calls import Guard, guard
from webapp.guards.operations import RetryManager
from webapp.guards.processing import BatchProcessor, BatchSummary

__all__ = ["BatchProcessor", "BatchSummary", "Guard", "RetryManager", "guard"]
