"""The doctor's look into the database: whether it answers, fits this release, and is used at all.

Asks by statements of its own: the models may not fit the schema that is found.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, DateTime, Engine, bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from webapp.clock import now
from webapp.findings import Finding, advice_on, first_line, warning
from webapp.settings import Settings

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
ALIVE_WITHIN = timedelta(minutes=1)
# Words of PostgreSQL's and SQLite's own messages.
ADVICE = (
    ("password", "Mend user or password in DATABASE_URL."),
    ("no pg_hba.conf entry", "Let this machine in: a line in the server's pg_hba.conf."),
    ("role", "Mend the user in DATABASE_URL, or make it: createuser NAME --pwprompt."),
    ("database", "Mend the name in DATABASE_URL, or make it: createdb NAME --owner=USER."),
)
UNREACHED = (
    ("connection refused", "Start it, or mend host and port in DATABASE_URL."),
    ("resolve", "No such host: mend the one in DATABASE_URL, or this machine's name service."),
    ("name or service", "No such host: mend the one in DATABASE_URL, or the name service."),
    ("timeout", "Nobody answers there: see to the network between, or mend DATABASE_URL."),
    ("too many", "It has no connection left: raise max_connections, or run fewer processes."),
    ("remaining connection slots", "Raise max_connections, or run fewer processes."),
    ("unable to open database file", "Make its folder, or mend the path in DATABASE_URL."),
    ("locked", "Somebody holds it: end what else writes to the file."),
)
COUNTED = text(
    "SELECT (SELECT count(*) FROM users WHERE role = 'admin' AND active) AS admins,"
    " (SELECT count(*) FROM workers WHERE stopped_at IS NULL AND beat_at > :since) AS workers,"
    " (SELECT count(*) FROM workers WHERE stopped_at IS NULL AND beat_at > :since AND scheduler)"
    " AS schedulers,"
    " (SELECT count(*) FROM schedules WHERE type = 'cleanup') AS cleanups"
).bindparams(bindparam("since", type_=DateTime(timezone=True)))


def examine_database(settings: Settings, engine: Engine, *, tried: str) -> Iterator[Finding]:
    """Look at the database; ``tried`` is its address without secrets."""
    try:
        with engine.connect() as connection:
            yield _database(connection, settings)
            yield (schema := _schema(connection))
            if connection.dialect.name != "sqlite":
                yield _clock(connection, settings)
            # Of another schema nobody knows what it holds.
            if schema.good:
                yield from _use(connection, settings)
    except SQLAlchemyError as error:
        said = first_line(error)
        advice = advice_on(said, UNREACHED, otherwise="") or advice_on(
            said, ADVICE, otherwise="Start it, or mend DATABASE_URL."
        )
        yield Finding("database", said, f"{advice} What was tried: {tried}")


def _database(connection: Connection, settings: Settings) -> Finding:
    connection.execute(text("SELECT 1"))
    version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    state = f"{connection.dialect.name} {version} answers".replace("  ", " ")
    if connection.dialect.name == "sqlite":
        return Finding("database", state + "; it serves one machine" * settings.is_production)
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        return Finding(
            "database",
            f"{state}; it is a standby, which takes no writes",
            "Name the primary in DATABASE_URL.",
        )
    return Finding("database", state)


def _schema(connection: Connection) -> Finding:
    script = ScriptDirectory(str(MIGRATIONS))
    wanted = set(script.get_heads())
    present = set(MigrationContext.configure(connection).get_current_heads())
    if present == wanted:
        return Finding("schema", f"at {_names(present)}, the newest")
    state = f"at {_names(present)}, the newest is {_names(wanted)}"
    known = {revision.revision for revision in script.walk_revisions()}
    if present - known:
        return Finding(
            "schema",
            f"{state}: a newer release has made it",
            "Install that release, or restore the backup from before it.",
        )
    return Finding("schema", state, "Run: flask db upgrade")


def _clock(connection: Connection, settings: Settings) -> Finding:
    there = connection.scalar(text("SELECT clock_timestamp()"))
    ahead = (now() - there).total_seconds() if isinstance(there, datetime) else 0.0
    state = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database's"
    # Beyond that workers leave the rescue of lost jobs to others, see tasks/periodic.py.
    if abs(ahead) > settings.job_lease_seconds / 4:
        return Finding("clock", state, "Set the clocks of both machines, by NTP.")
    return Finding("clock", state)


def _use(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Look at who may sign in, who runs the jobs, and who removes what is old."""
    since = now() - ALIVE_WITHIN
    counted = connection.execute(COUNTED, {"since": since}).one()
    if counted.admins:
        yield Finding("accounts", f"{counted.admins} admin{'s' * (counted.admins > 1)}")
    else:
        yield warning("accounts", "no admin", "Run: flask users create NAME --role admin")
    if settings.has_workers:
        yield _workers(counted.workers, counted.schedulers)
    if not counted.cleanups and settings.is_production:
        yield warning(
            "cleanup",
            "nothing is ever removed: the job cleanup has no schedule",
            "Make a daily one on the page Schedules, or: POST /api/v1/queue/schedule/cleanup",
        )


def _workers(alive: int, schedulers: int) -> Finding:
    if not alive:
        return warning("workers", "none is alive: jobs wait", "Start one: flask worker")
    if not schedulers:
        return warning(
            "workers",
            f"{alive} alive, none of them with a scheduler: schedules do not fire",
            "Start one without --no-scheduler.",
        )
    return Finding("workers", f"{alive} alive")


def _names(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"
