"""All flags at one revision, ready to be asked: compiled for each environment when it is asked.

A table is a dict, so that looking a flag up costs what a dict costs; what it lacks it makes.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

from webapp.flags.evaluation import CompiledFlag, Surroundings, compile_flag
from webapp.flags.usage import UsageCounter, is_storable
from webapp.flags.values import MAX_WORD, NO_FLAGS, FlagDefinition, FlagSet

# Environments that no flag names come from callers: without a bound they could fill the memory.
MAX_OTHERS: Final = 50
OTHER_ENVIRONMENTS: Final = "(other)"


class FlagTable(dict[str, CompiledFlag]):
    """The flags of one environment by name; KeyError for one that there is not.

    Two threads may compile the same flag at once: either result serves, for both count alike.
    """

    def __init__(self, found: FlagSet, environment: str, usage: UsageCounter | None) -> None:
        super().__init__()
        self.environment = environment
        self._found = found
        self._usage = usage

    def __missing__(self, name: str) -> CompiledFlag:
        definition = self._found.flags[name]
        self[name] = compiled = compile_flag(definition, self._around(name))
        return compiled

    def compile_all(self) -> None:
        """Compile what nobody has asked for yet."""
        for name in self._found.flags:
            self[name]  # looking it up makes it

    def _around(self, name: str) -> Surroundings:
        around = Surroundings(self.environment, self._found.segments, self._find)
        if self._usage is None:
            return around
        ready = self._usage.ready_for(name, self.environment)
        return around._replace(ready=ready, seen=self._usage.sample_of(name))

    def _find(self, name: str) -> CompiledFlag | None:
        return self[name] if name in self._found.flags else None


class FlagTables(dict[str | None, FlagTable]):
    """The table of each environment; None is the deployment's own.

    Environments that no flag names decide alike, and are counted by their names up to a bound.
    """

    def __init__(self, found: FlagSet, own: str, usage: UsageCounter | None) -> None:
        super().__init__()
        self.found = found
        self._own = own
        self._usage = usage
        self._kept = 0
        self._named = frozenset(chain([own], *map(_environments, found.flags.values())))

    def __missing__(self, environment: str | None) -> FlagTable:
        if not environment:
            table = self[self._own]
        elif environment in self._named or self._is_kept(environment):
            table = FlagTable(self.found, environment, self._usage)
        else:
            # Not kept under its own name.
            return self[OTHER_ENVIRONMENTS]
        return self.setdefault(environment, table)

    def _is_kept(self, environment: str) -> bool:
        if environment == OTHER_ENVIRONMENTS:
            return True
        if self._kept >= MAX_OTHERS or not is_storable(environment, MAX_WORD):
            return False
        self._kept += 1
        return True


def _environments(flag: FlagDefinition) -> Iterable[str]:
    return (*flag.environments, *flag.environment_overrides)


class ColdTables(FlagTables):
    """Stands where nobody has asked yet in this process: the first question begins everything."""

    def __init__(self, begin: Callable[[], FlagTables]) -> None:
        super().__init__(NO_FLAGS, "", None)
        self._begin = begin

    def __missing__(self, environment: str | None) -> FlagTable:
        # Not kept: whoever holds these tables still asks the ones that have taken their place.
        return self._begin()[environment]
