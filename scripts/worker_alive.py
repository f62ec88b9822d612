"""Tell a supervisor whether the worker of this host lives: 0 where it beat within a minute, else 1.

Asks the ledger, without the application: it is asked every half minute, and must not be work.
"""

import os
import socket
import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import DateTime, bindparam, create_engine, text

SECONDS = 60
ASKED = text(
    "SELECT count(*) FROM workers WHERE host = :host AND stopped_at IS NULL AND beat_at > :since"
).bindparams(bindparam("since", type_=DateTime(timezone=True)))


def main() -> int:
    """Return the exit code; a database that does not answer ends this with its error."""
    url = os.environ.get("DATABASE_URL") or "sqlite:////data/switchyard.db"
    since = datetime.now(UTC) - timedelta(seconds=SECONDS)
    with create_engine(url).connect() as connection:
        alive = connection.scalar(ASKED, {"host": socket.gethostname(), "since": since})
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
