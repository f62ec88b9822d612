"""Flags in Python: ask for a decision, or let a flag choose between two functions.

Nothing here raises because of a flag: an unknown one is off, and told to the log once.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, TypeVar, cast

from webapp.flags import snapshot
from webapp.flags.snapshot import flag_store
from webapp.flags.values import NOTHING, Decision, subject_id

Function = TypeVar("Function", bound=Callable[..., Any])

#: What flags answered, by name: on, off or a variant; a list of them where answers differed.
Answers = dict[str, str | list[str]]
MOST_NOTED: Final = 50
MOST_DIFFERENT: Final = 10
_noted: ContextVar[Answers | None] = ContextVar("noted", default=None)
# Whether anybody in this process has ever listened: else an answer costs no look at the context.
_noting = False


def evaluate(
    name: str,
    subject: object = None,
    *,
    environment: str | None = None,
    attributes: Mapping[str, Any] = NOTHING,
) -> Decision:
    """Decide a flag for one subject, in this deployment's environment where none is named.

    ``subject`` is any stable id, as text or what ``str`` makes of it.  ``attributes`` are further
    facts about the subject, which rules look at.
    """
    decision = flag_store().evaluate(name, subject, environment=environment, attributes=attributes)
    if _noting:
        _note(name, decision)
    return decision


def is_enabled(
    name: str,
    subject: object = None,
    *,
    environment: str | None = None,
    attributes: Mapping[str, Any] = NOTHING,
) -> bool:
    """Tell whether a flag is on; as :func:`evaluate`, without the reason."""
    # FlagStore.evaluate written out: to call it would add a tenth to what an answer costs, and to
    # look for the store, its environments and the flag among them another.
    if type(subject) is not str:
        subject = subject_id(subject)
    try:
        ask = (snapshot.own if environment is None else flag_store().ready[environment])[name]
    except KeyError:
        ask = flag_store().find(environment, name)
    decision = ask(subject, attributes)
    next(decision.counter)
    if _noting:
        _note(name, decision)
    return decision.enabled


def feature_flag(
    name: str,
    *,
    fallback: Callable[..., Any] | None = None,
    subject: str | None = None,
    environment: str | None = None,
) -> Callable[[Function], Function]:
    """Run the decorated function where the flag is on, else ``fallback``, else return None.

    ``subject`` names the parameter that carries the subject's id; the fallback is called with the
    same arguments.  Works on ``def`` and ``async def``; the fallback of an ``async def`` may be
    either.  :class:`TypeError` at decoration where there is no such parameter.
    """

    def decorate(function: Function) -> Function:
        find = _subject_finder(function, subject)

        def is_on(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
            return evaluate(name, find(args, kwargs), environment=environment).enabled

        wrap = _wrap_async if inspect.iscoroutinefunction(function) else _wrap
        return cast("Function", wrap(function, fallback, is_on))

    return decorate


@contextmanager
def noting_answers() -> Iterator[Answers]:
    """Note what flags answer to the body, in this thread: the first 50 flags that it asks."""
    global _noting  # noqa: PLW0603 - set once, and read with every answer
    _noting = True
    answers: Answers = {}
    token = _noted.set(answers)
    try:
        yield answers
    finally:
        _noted.reset(token)


def _note(name: str, decision: Decision) -> None:
    answers = _noted.get()
    if answers is None:
        return
    answer = decision.variant or ("on" if decision.enabled else "off")
    before = answers.get(name)
    if before is None:
        if len(answers) < MOST_NOTED:
            answers[name] = answer
    elif isinstance(before, list):
        if answer not in before and len(before) < MOST_DIFFERENT:
            before.append(answer)
    elif answer != before:
        answers[name] = [before, answer]


IsOn = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def _wrap(
    function: Callable[..., Any], fallback: Callable[..., Any] | None, is_on: IsOn
) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_on(args, kwargs):
            return function(*args, **kwargs)
        return fallback(*args, **kwargs) if fallback else None

    return call


def _wrap_async(
    function: Callable[..., Any], fallback: Callable[..., Any] | None, is_on: IsOn
) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        chosen = function if is_on(args, kwargs) else fallback
        result = chosen(*args, **kwargs) if chosen else None
        return await result if inspect.isawaitable(result) else result

    return call


def _subject_finder(
    function: Callable[..., Any], parameter: str | None
) -> Callable[[tuple[Any, ...], dict[str, Any]], object]:
    """Return how to find the subject among the arguments of a call."""
    if parameter is None:
        return lambda args, kwargs: None  # noqa: ARG005  # the same shape as below
    parameters = inspect.signature(function).parameters
    if parameter not in parameters:
        raise TypeError(f"{function.__qualname__} has no parameter {parameter!r} for the subject")
    found = parameters[parameter]
    absent = None if found.default is inspect.Parameter.empty else found.default
    by_name_only = found.kind is inspect.Parameter.KEYWORD_ONLY
    place = sys.maxsize if by_name_only else list(parameters).index(parameter)

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        if parameter in kwargs:
            return kwargs[parameter]
        return args[place] if place < len(args) else absent

    return find
