"""Alembic's environment: our metadata, our types, one connection, SQLite and PostgreSQL alike."""

from alembic import context
from flask import current_app

from webapp.db import UtcTime, db, will_write


def run_migrations() -> None:
    """Run the asked-for steps, each in a transaction of its own, or print them as SQL."""
    engine = db.engine
    options = {
        "target_metadata": db.metadata,
        "render_as_batch": True,
        "compare_type": True,
        "transaction_per_migration": True,
        "render_item": _render,
    }
    if context.is_offline_mode():
        context.configure(url=engine.url, literal_binds=True, **options)
        with context.begin_transaction():
            context.run_migrations()
        return
    arguments = current_app.extensions["migrate"].configure_args
    with will_write(), engine.connect() as connection:
        context.configure(connection=connection, **(arguments | options))
        with context.begin_transaction():
            context.run_migrations()


def _render(kind: str, item: object, autogen: object) -> str | bool:
    """Write our time type into a new migration as the plain type that it is."""
    del autogen
    if kind == "type" and isinstance(item, UtcTime):
        return "sa.DateTime(timezone=True)"
    return False


run_migrations()
