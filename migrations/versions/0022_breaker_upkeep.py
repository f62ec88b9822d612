"""Breakers: what is read and removed by its time, and calls that say nothing about a service."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "circuit_breaker_minutes",
        sa.Column("neutral", sa.Integer(), nullable=False, server_default="0"),
    )
    for column in ("updated_at", "force_until"):
        name = op.f(f"ix_circuit_breaker_state_{column}")
        op.create_index(name, "circuit_breaker_state", [column])


def downgrade() -> None:
    """Take this step back."""
    for column in ("force_until", "updated_at"):
        op.drop_index(
            op.f(f"ix_circuit_breaker_state_{column}"), table_name="circuit_breaker_state"
        )
    op.drop_column("circuit_breaker_minutes", "neutral")
