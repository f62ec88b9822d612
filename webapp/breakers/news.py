"""Word of what this process has written of breakers, for whoever passes it on to the others.

Services leave it after their commit; it must not know who listens, or whether anybody does.
"""

from collections.abc import Callable


class News:
    """One listener at a time: the registry of this process."""

    def __init__(self) -> None:
        self._listener: Callable[[], None] | None = None

    def heard_by(self, listener: Callable[[], None] | None) -> None:
        """Call ``listener`` with each piece of news from now on; it must not wait."""
        self._listener = listener

    def spread(self) -> None:
        """Say that something about breakers was written."""
        if self._listener is not None:
            self._listener()


news = News()
