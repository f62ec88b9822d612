"""Audit: each entry carries the hash of the one before it, and one row has the newest."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from webapp.audit.chain import GENESIS, Facts, hash_after
from webapp.db import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BATCH = 1_000
FACTS = (
    sa.column("at", UtcTime),
    sa.column("actor_kind", sa.String),
    sa.column("actor", sa.String),
    sa.column("action", sa.String),
    sa.column("subject", sa.String),
    sa.column("name", sa.String),
    sa.column("reason", sa.Text),
    sa.column("changes", sa.JSON),
    sa.column("request_id", sa.String),
)


def upgrade() -> None:
    """Apply this step.

    As SQL for somebody else to run it holds no chaining, which SQL cannot do: there it refuses a
    database that has entries, since their hashes may not be missing.
    """
    heads = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.add_column("audit_entries", sa.Column("previous_hash", sa.String(64), nullable=True))
    op.add_column("audit_entries", sa.Column("hash", sa.String(64), nullable=True))
    newest = GENESIS if context.is_offline_mode() else chain_all()
    op.bulk_insert(heads, [{"id": 1, "hash": newest}])
    # SQLite can only copy the table, and reads how it is where nobody may look at the database.
    with op.batch_alter_table("audit_entries", copy_from=entries_table()) as batch:
        batch.alter_column("previous_hash", existing_type=sa.String(64), nullable=False)
        batch.alter_column("hash", existing_type=sa.String(64), nullable=False)
    op.create_index(
        "uq_audit_entries_previous_hash", "audit_entries", ["previous_hash"], unique=True
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("uq_audit_entries_previous_hash", table_name="audit_entries")
    with op.batch_alter_table("audit_entries", copy_from=entries_table()) as batch:
        batch.drop_column("hash")
        batch.drop_column("previous_hash")
    op.drop_table("audit_head")


def chain_all() -> str:
    """Chain the entries that there are in the order of their ids; return the newest hash."""
    connection = op.get_bind()
    id_, previous_hash, hash_ = sa.column("id"), sa.column("previous_hash"), sa.column("hash")
    entries = sa.table("audit_entries", id_, *FACTS, previous_hash, hash_)
    wanted = sa.select(id_, *FACTS).select_from(entries).order_by(id_).limit(BATCH)
    chained = (
        sa.update(entries)
        .where(id_ == sa.bindparam("entry"))
        .values(previous_hash=sa.bindparam("before"), hash=sa.bindparam("own"))
    )
    newest = GENESIS
    rows = connection.execute(wanted).all()
    while rows:
        links = links_of(rows, newest)
        connection.execute(chained, links)
        newest = links[-1]["own"]
        rows = connection.execute(wanted.where(id_ > rows[-1].id)).all()
    return newest


def links_of(rows: Sequence[sa.Row[Any]], newest: str) -> list[dict[str, Any]]:
    """Return the two hashes of each of these entries, the first of which follows on ``newest``."""
    links = []
    for row in rows:
        facts = Facts(**{column.name: getattr(row, column.name) for column in FACTS})
        links.append({"entry": row.id, "before": newest, "own": hash_after(newest, facts)})
        newest = links[-1]["own"]
    return links


def entries_table() -> sa.Table:
    """Return the table as it is between its two states."""
    return sa.Table(
        "audit_entries",
        sa.MetaData(),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("previous_hash", sa.String(64), nullable=True),
        sa.Column("hash", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
        sa.Index("ix_audit_entries_subject_name_id", "subject", "name", "id"),
        sa.Index("ix_audit_entries_actor_id", "actor", "id"),
        sa.Index("ix_audit_entries_action_id", "action", "id"),
        sa.Index("ix_audit_entries_at", "at"),
    )
