"""Which types of job this deployment has, each with its schema and its policy.

``tasks`` registers them at import with :func:`job`; the console and the API read them here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webapp.errors import Invalid, NotFound
from webapp.jobs.values import JobContext, RetryPolicy

Arguments = TypeVar("Arguments", bound="JobArguments")
Result = dict[str, Any] | list[Any] | str | int | float | bool | None


class JobArguments(BaseModel):
    """Base of every job's arguments: unknown names are refused, and numbers that JSON lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class JobType:
    """One type of job; ``timeout`` in seconds, None for the deployment's default.

    Jobs of an ``internal`` type are made by other parts of the console, and never by hand: what
    their arguments say has been checked before.
    """

    name: str
    function: Callable[[JobContext, Any], Result]
    arguments: type[JobArguments]
    description: str
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float | None = None
    queue: str = "default"
    priority: int = 50
    internal: bool = False


_types: dict[str, JobType] = {}


def job(
    name: str,
    arguments: type[Arguments],
    *,
    policy: RetryPolicy | None = None,
    timeout: float | None = None,
    priority: int = 50,
    internal: bool = False,
) -> Callable[
    [Callable[[JobContext, Arguments], Result]], Callable[[JobContext, Arguments], Result]
]:
    """Register a function as a type of job; its docstring's first line describes it.

    The function is called with the context and its validated arguments.  It may run twice after a
    crash, so it must be idempotent.
    """

    def register(
        function: Callable[[JobContext, Arguments], Result],
    ) -> Callable[[JobContext, Arguments], Result]:
        if name in _types and _types[name].function.__qualname__ != function.__qualname__:
            message = f"two job types are named {name!r}"
            raise ValueError(message)
        description = (function.__doc__ or name).strip().splitlines()[0]
        _types[name] = JobType(
            name,
            function,
            arguments,
            description,
            policy or RetryPolicy(),
            timeout,
            priority=priority,
            internal=internal,
        )
        return function

    return register


class ItemArguments(JobArguments):
    """One item of what is done in batches."""

    item: Any = Field(description="What the function is called with")


def item_job(
    name: str, *, policy: RetryPolicy | None = None, timeout: float | None = None
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register a function of one item as a type of job, and leave it as it is.

    So an item that failed in a batch (``webapp.guards.BatchProcessor``) has a dead letter that can
    be retried: its job calls the same function with the same item.
    """

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @wraps(function)
        def run(context: JobContext, arguments: ItemArguments) -> Result:
            del context
            result: Result = function(arguments.item)
            return result

        job(name, ItemArguments, policy=policy, timeout=timeout)(run)
        return function

    return register


def job_types() -> list[JobType]:
    """Return every type, by name."""
    return sorted(_types.values(), key=lambda item: item.name)


def find_job_type(name: str) -> JobType:
    """Return one type; :class:`NotFound` where this deployment has none of that name."""
    if name not in _types:
        message = f"There is no job type {name!r}; there are {', '.join(sorted(_types))}."
        raise NotFound(message)
    return _types[name]


def find_open_type(name: str) -> JobType:
    """Return a type whose jobs may be made by hand; :class:`Invalid` where they may not."""
    kind = find_job_type(name)
    if kind.internal:
        message = f"Jobs of the type {name} are made by the console itself, not by hand."
        raise Invalid.field("type", message)
    return kind


def parse_arguments(kind: JobType, values: object) -> JobArguments:
    """Check arguments by the type's schema; :class:`Invalid` names each field."""
    try:
        return kind.arguments.model_validate(values)
    except ValidationError as error:
        errors: dict[str, list[str]] = {}
        for item in error.errors(include_url=False, include_input=False):
            place = ".".join(str(part) for part in item["loc"]) or "arguments"
            errors.setdefault(place, []).append(item["msg"])
        place, messages = next(iter(errors.items()))
        message = f"{place}: {messages[0]}"
        raise Invalid(message, errors) from None
