"""The queues that are measured, each in a module of its own that only its environment can import.

A module's ``queue()`` is entered in the process that enqueues; its workers are commands, and import
the same module for the job, whose body is ``marks.mark``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How to work one queue.

    ``workers`` are the commands that make up two worker processes.  ``send(count, together)``
    enqueues so many jobs, so many of them in one transaction; only some queues can do ``several``.
    ``settled`` counts the jobs that the queue itself knows to be done.  ``locked`` tells whether
    somebody is writing, where nobody else can meanwhile.
    """

    workers: Sequence[Sequence[str]]
    send: Callable[[int, int], None]
    settled: Callable[[], int] | None = None
    several: bool = False
    locked: Callable[[], bool] | None = None
