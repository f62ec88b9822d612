"""Idempotency keys: who carries a request out, and what it was answered."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of exactly this type.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
TABLE = "idempotency_keys"
IS_REPEATED = sa.text("replays + conflicts + mismatches > 0")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        TABLE,
        sa.Column("id", BIG, nullable=False),
        sa.Column("principal", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("claim", sa.String(length=32), nullable=False),
        sa.Column("claimed_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("replays", sa.Integer(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.Column("mismatches", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
        sa.UniqueConstraint("key", "principal", name="uq_idempotency_keys_key_principal"),
    )
    op.create_index("ix_idempotency_keys_expires_at", TABLE, ["expires_at"])
    op.create_index(
        "ix_idempotency_keys_repeated",
        TABLE,
        ["id"],
        sqlite_where=IS_REPEATED,
        postgresql_where=IS_REPEATED,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table(TABLE)
