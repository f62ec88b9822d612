"""The circuits of this process, by name.

Equal names are one circuit.  Where the application has been set up, circuits are shared with the
other processes; before that (a script, a test of a rule) each process is alone.
"""

import threading
import weakref

from webapp.breakers.callers import present_caller
from webapp.breakers.circuit import Breaker
from webapp.breakers.meters import Meters
from webapp.breakers.news import news
from webapp.breakers.sharing import Sharing
from webapp.breakers.values import MAX_NAME, Thresholds
from webapp.registries import InUse, Registry

LAST_WORD_SECONDS = 1.0


class BreakerRegistry(Registry):
    """All circuits of one process; ``database_url`` None keeps them to themselves.

    With ``redis_url`` changes are seen at once, without it within a second.
    """

    def __init__(self, database_url: str | None = None, redis_url: str = "") -> None:
        super().__init__()
        self._breakers: dict[str, Breaker] = {}
        self._adding = threading.Lock()
        self._sharing = (
            Sharing(database_url, self._breakers, redis_url, forget=self._forget)
            if database_url
            else None
        )

    def get(self, name: str, thresholds: Thresholds | None = None) -> Breaker:
        """Return the circuit ``name``; whoever asks first says what its thresholds are."""
        breaker = self._breakers.get(name) or self._add(name, thresholds)
        if self._sharing is not None:
            self._sharing.start()
        if (caller := present_caller()) is not None:
            breaker.used_by(caller)
        return breaker

    def announce(self) -> None:
        """Have other processes look at the store, since something was written there."""
        if self._sharing is not None:
            self._sharing.announce()

    def close(self) -> None:
        """Tell other processes what they do not know yet, and stop listening to them."""
        if self._sharing is not None:
            self._sharing.stop(seconds=LAST_WORD_SECONDS)

    def begin_process(self) -> None:
        """Make ready for use in a forked child, where only the forking thread lives on."""
        self._adding = threading.Lock()
        for breaker in self._breakers.values():
            breaker.begin_process()
        if self._sharing is not None:
            self._sharing.begin_process()

    def _forget(self, name: str) -> bool:
        """Let go of a circuit; False where somebody holds it, who will go on using it."""
        with self._adding:
            last = weakref.ref(self._breakers.pop(name))
            held = last()
            if held is not None:
                self._breakers[name] = held
            return held is None

    def _add(self, name: str, thresholds: Thresholds | None) -> Breaker:
        if not 0 < len(name) <= MAX_NAME:
            raise ValueError(f"a breaker's name has 1 to {MAX_NAME} characters: {name[:40]!r}")
        with self._adding:
            if name in self._breakers:
                return self._breakers[name]
            breaker = self._breakers[name] = Breaker(
                name,
                thresholds,
                on_transition=self._sharing.tell if self._sharing else None,
                trials=self._sharing,
                meters=Meters(name),
            )
        if self._sharing is not None:
            self._sharing.start()
            # Its first call waits for the answer.
            self._sharing.wake()
        return breaker


_current = InUse(BreakerRegistry())


def use_registry(registry: BreakerRegistry) -> None:
    """Make a registry the one of this process; the one before stops sharing."""
    _current.use(registry)
    news.heard_by(registry.announce)


def breaker(name: str, thresholds: Thresholds | None = None) -> Breaker:
    """Return this process's circuit ``name``; equal names are one circuit in all processes."""
    return _current.registry.get(name, thresholds)
