"""Operations that are repeated under a key: what shares a key shares a breaker and a budget."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from webapp.guards.calls import guard
from webapp.retries.attempts import default_config
from webapp.retries.values import RetryConfig

Result = TypeVar("Result")


class RetryManager:
    """Makes calls that are repeated as ``config`` says, or as the settings do.

    ``operation_key`` names the breaker that equal operations share: those of one tenant, one host,
    one mailbox.  It becomes a label of metrics, so it is one of few, and holds no id of a person.
    """

    def __init__(self, config: RetryConfig | None = None) -> None:
        self._config = config

    def execute(
        self,
        func: Callable[..., Result],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        operation_key: str,
    ) -> Result:
        """Call a function until it succeeds or is given up; its last error is raised as it was."""
        guarded = guard(operation_key, retry=self._config or default_config())
        return guarded.call(func, *args, **(kwargs or {}))

    async def execute_async(
        self,
        func: Callable[..., Awaitable[Result]],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        operation_key: str,
    ) -> Result:
        """Await a coroutine function as :meth:`execute` calls a plain one."""
        guarded = guard(operation_key, retry=self._config or default_config())
        return await guarded.acall(func, *args, **(kwargs or {}))
