"""A clock that is set: loaded by a consumer of a test, it moves the program's time.

The file that ``TEST_CLOCK_FILE`` names holds by how many seconds, and is read at each look.
"""

import os
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from webapp import clock

_FILE = Path(os.environ["TEST_CLOCK_FILE"])


class SetClock(datetime):
    """A datetime whose present is that of a clock which was set."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return the present, moved."""
        return datetime.now(tz) + timedelta(seconds=float(_FILE.read_text()))


setattr(clock, "datetime", SetClock)  # noqa: B010  # the clock's own import, which nobody else may use
