"""What the command line tells about guards."""

from importlib import import_module

import click
import httpx

from webapp.retries.attempts import default_config
from webapp.retries.decisions import Explanation, explain
from webapp.retries.values import ErrorClass

LAST_SHOWN = 10


@click.group()
def guards() -> None:
    """Ask what guards do about errors."""


@guards.command("explain")
@click.argument("error")
@click.option("--retry-after", help="What the answer's Retry-After says: seconds or a date.")
def explain_error(error: str, retry_after: str | None) -> None:
    """Tell what becomes of calls that fail with ERROR: a status or a type of exception.

    \b
    flask guards explain 429 --retry-after 20
    flask guards explain redis.exceptions.ConnectionError
    """  # noqa: D301  # click's mark for lines that stay as they are
    failure = _answer(int(error), retry_after) if error.isdecimal() else _instance_of(error)
    before: list[ErrorClass] = []
    while len(before) < LAST_SHOWN:
        why = explain(failure, default_config(), before=before)
        if not before:
            click.echo(f"class     {why.error_class}, by {why.rule}")
            click.echo(f"breaker   {why.breaker_effect}")
        click.echo(f"attempt {why.attempt} {_outcome(why)}")
        before.append(why.error_class)
        if not why.repeated:
            return


def _outcome(why: Explanation) -> str:
    if why.repeated:
        return f"is repeated after about {why.delay:g} s ({why.strategy})"
    later = "" if why.postponed is None else f"; a job is put off for {why.postponed:g} s"
    return f"is the last: {why.reason}{later}"


def _answer(status: int, retry_after: str | None) -> Exception:
    request = httpx.Request("GET", "https://service.example/")
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError(f"status {status}", request=request, response=response)


def _instance_of(name: str) -> Exception:
    module, _, kind = name.rpartition(".")
    try:
        found = getattr(import_module(module or "builtins"), kind)
    except (ImportError, AttributeError) as error:
        raise click.BadParameter(f"{name} is no type that can be imported.") from error
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise click.BadParameter(f"{name} is no type of exception.")
    # Some want arguments that nobody knows here; their class goes by their type.
    return found.__new__(found)
