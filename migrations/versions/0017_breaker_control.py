"""breakers: trials, thresholds and forces; calls by minute; who calls"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_STATE = (
    ("open_until", _TIME),
    ("opens", sa.Integer()),
    ("successes", sa.Integer()),
    ("trial_until", _TIME),
    ("declared", sa.JSON()),
    ("thresholds", sa.JSON()),
    ("revision", sa.Integer()),
    ("force", sa.String(16)),
    ("force_until", _TIME),
    ("force_reason", sa.Text()),
    ("force_by", sa.String(255)),
)
_NEEDED = {"opens": "0", "successes": "0", "revision": "0", "force": "none"}
_EVENTS = (("kind", sa.String(16)), ("note", sa.Text()), ("reason", sa.Text()))


def upgrade() -> None:
    """Apply this step."""
    for name, kind in _STATE:
        _add("circuit_breaker_state", name, kind, _NEEDED.get(name))
    for name, kind in _EVENTS:
        _add("circuit_breaker_events", name, kind, "transition" if name == "kind" else None)
    op.create_index(op.f("ix_circuit_breaker_events_at"), "circuit_breaker_events", ["at"])
    # An open circuit gets its end at once, so that none waits for ever.
    end = (
        "strftime('%Y-%m-%d %H:%M:%f', opened_at, '+' || open_seconds || ' seconds') || '000'"
        if op.get_context().dialect.name == "sqlite"
        else "opened_at + make_interval(secs => open_seconds)"
    )
    op.execute(
        f"UPDATE circuit_breaker_state SET open_until = {end}, opens = 1"  # noqa: S608
        " WHERE opened_at IS NOT NULL"
    )
    op.create_table(
        "circuit_breaker_minutes",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("minute", _TIME, nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("slow", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("spared", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "minute", name=op.f("pk_circuit_breaker_minutes")),
    )
    op.create_table(
        "circuit_breaker_uses",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("caller", sa.String(200), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", "caller", name=op.f("pk_circuit_breaker_uses")),
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("circuit_breaker_uses")
    op.drop_table("circuit_breaker_minutes")
    op.drop_index(op.f("ix_circuit_breaker_events_at"), "circuit_breaker_events")
    for name, _ in _EVENTS:
        op.drop_column("circuit_breaker_events", name)
    for name, _ in _STATE:
        op.drop_column("circuit_breaker_state", name)


def _add(table: str, name: str, kind: sa.types.TypeEngine[object], default: str | None) -> None:
    column = sa.Column(name, kind, nullable=default is None, server_default=default)
    op.add_column(table, column)
