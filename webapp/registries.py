"""Registries of a process: things by name, which may be shared with other processes.

Each outlives a fork, and the one in use says its last word when the process ends.
"""

import atexit
import os
import weakref
from abc import ABC, abstractmethod
from multiprocessing.util import Finalize, register_after_fork
from typing import Generic, TypeVar


class Registry(ABC):
    """Things of one process by name."""

    def __init__(self) -> None:
        _registries.add(self)

    @abstractmethod
    def begin_process(self) -> None:
        """Make ready for use in a forked child, where only the forking thread lives on."""

    @abstractmethod
    def close(self) -> None:
        """Tell other processes what they do not know yet, and stop listening to them."""


Kind = TypeVar("Kind", bound=Registry)


class InUse(Generic[Kind]):
    """The registry in use: that of the application set up last, ``first`` before there is one."""

    def __init__(self, first: Kind) -> None:
        self.registry = first
        atexit.register(self._end_process)
        # Processes that multiprocessing forked end without the handlers of atexit, and forget what
        # was to be finalized before they began.
        register_after_fork(self, InUse._finalize)

    def use(self, registry: Kind) -> None:
        """Make a registry the one of this process; the one before stops sharing."""
        self.registry.close()
        self.registry = registry

    def _finalize(self) -> None:
        Finalize(None, self._end_process, exitpriority=1)

    def _end_process(self) -> None:
        self.registry.close()


_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


def _begin_process() -> None:
    for registry in list(_registries):
        registry.begin_process()


os.register_at_fork(after_in_child=_begin_process)
