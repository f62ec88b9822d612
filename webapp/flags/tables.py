"""All flags at one revision, ready to be asked: compiled for each environment when it is asked.

``ready`` holds what has been asked for, in plain dicts: looking a flag up there costs a fifth of
what it costs in a dict that fills itself.  Whoever finds nothing there asks the table.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

from webapp import clock
from webapp.flags.evaluation import Attributes, CompiledFlag, Surroundings, compile_flag
from webapp.flags.usage import UsageCounter, is_storable
from webapp.flags.values import MAX_WORD, Decision, FlagDefinition, FlagSet

# Environments that no flag names come from callers: without a bound they could fill the memory.
MAX_OTHERS: Final = 50
OTHER_ENVIRONMENTS: Final = "(other)"

# Subject and attributes in: a flag asked at the present moment.
Ask = Callable[[str | None, Attributes], Decision]
# By environment and name; None is the deployment's own environment.
Ready = dict[str | None, dict[str, Ask]]


def asking(flag: CompiledFlag) -> Ask:
    """Return what asks a flag at the present moment, and reads the clock only where it matters."""
    decide = flag.decide
    return (lambda who, facts: decide(who, facts, clock.now())) if flag.timed else decide


class FlagTable:
    """The flags of one environment, each compiled when it is first asked.

    Two threads may compile the same flag at once: either result serves, for both count alike.
    """

    def __init__(self, found: FlagSet, environment: str, usage: UsageCounter | None) -> None:
        self.environment = environment
        self.ready: dict[str, Ask] = {}
        self._compiled: dict[str, CompiledFlag] = {}
        self._found = found
        self._usage = usage

    def find(self, name: str) -> CompiledFlag | None:
        """Return a flag by name, None where there is none."""
        compiled = self._compiled.get(name)
        if compiled is None and (definition := self._found.flags.get(name)):
            self._compiled[name] = compiled = compile_flag(definition, self._around(name))
            self.ready[name] = asking(compiled)
        return compiled

    def _around(self, name: str) -> Surroundings:
        around = Surroundings(self.environment, self._found.segments, self.find)
        if self._usage is None:
            return around
        ready = self._usage.ready_for(name, self.environment)
        return around._replace(ready=ready, seen=self._usage.sample_of(name))


class FlagTables:
    """All flags at one revision, a table for each environment; None is the deployment's own.

    Environments that no flag names decide alike, and are counted by their names up to a bound.
    """

    def __init__(self, found: FlagSet, own: str, usage: UsageCounter | None) -> None:
        self.found = found
        self._own = own
        self._usage = usage
        self._tables = {own: FlagTable(found, own, usage)}
        self.ready: Ready = {None: self._tables[own].ready}
        self._kept = 0
        self._named = frozenset(chain([own], *map(_environments, found.flags.values())))

    def table(self, environment: str | None) -> FlagTable:
        """Return the table of an environment, made where nobody has asked there yet."""
        name = self._counted_as(environment or self._own)
        table = self._tables.get(name)
        if table is None:
            made = FlagTable(self.found, name, self._usage)
            table = self._tables.setdefault(name, made)
        # What is counted by no name of its own is not kept by one either.
        if not environment or environment == name:
            self.ready[environment] = table.ready
        return table

    def _counted_as(self, environment: str) -> str:
        if environment in self._named or environment in self._tables:
            return environment
        if self._kept >= MAX_OTHERS or not is_storable(environment, MAX_WORD):
            return OTHER_ENVIRONMENTS
        self._kept += environment != OTHER_ENVIRONMENTS
        return environment


def _environments(flag: FlagDefinition) -> Iterable[str]:
    return (*flag.environments, *flag.environment_overrides)
