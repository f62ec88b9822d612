"""The tables of models: models, their versions, and the runs that predict with what they said."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    column,
    table,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime
from webapp.predictions.values import VersionState

#: Sources are known here by the name of their table only.
sources = table("sources", column("id", Integer), column("name", String))
_IS_CHAMPION = f"state = '{VersionState.CHAMPION}'"


class Model(Base):
    """What is predicted of the records of a source: one field, whatever version does it."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    target: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))

    __table_args__ = (UniqueConstraint("source_id", "target"),)


class ModelVersion(Base):
    """One training of a model.  But for its state it never changes: a number is given once."""

    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model_id: Mapped[int] = mapped_column(BigId, ForeignKey("models.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    # Rises with each change of state, so that nobody decides over what somebody else decided.
    revision: Mapped[int]
    state_at: Mapped[datetime] = mapped_column(UtcTime)
    state_by: Mapped[str] = mapped_column(String(255))
    task: Mapped[str] = mapped_column(String(16))
    algorithm: Mapped[str] = mapped_column(String(32))
    seed: Mapped[int]
    held_out_share: Mapped[float] = mapped_column(Float)
    # As FeatureKind has them, in the order in which the file wants them.
    features: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    # Why the other fields are none.
    left_out: Mapped[dict[str, str]] = mapped_column(Json)
    metrics: Mapped[dict[str, float]] = mapped_column(Json)
    comparison: Mapped[dict[str, Any]] = mapped_column(Json)
    rows_read: Mapped[int] = mapped_column(BigId)
    rows_trained: Mapped[int] = mapped_column(BigId)
    rows_held_out: Mapped[int] = mapped_column(BigId)
    rows_unlabelled: Mapped[int] = mapped_column(BigId)
    data_hash: Mapped[str] = mapped_column(String(64))
    file_hash: Mapped[str] = mapped_column(String(64))
    file_size: Mapped[int] = mapped_column(BigId)
    trained_at: Mapped[datetime] = mapped_column(UtcTime)
    trained_by: Mapped[str] = mapped_column(String(255))
    # One job, one version: an attempt that runs again finds what the one before registered.
    job_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )

    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index("ix_model_versions_model_id_id", "model_id", "id"),
        # At most one champion, whoever promotes at the same time.
        Index(
            "uq_model_versions_champion",
            "model_id",
            unique=True,
            sqlite_where=text(_IS_CHAMPION),
            postgresql_where=text(_IS_CHAMPION),
        ),
    )


class PredictionRun(Base):
    """One going through the records of a source by one job, however many attempts that takes.

    It keeps to the versions with which it began, whatever is promoted meanwhile.
    """

    __tablename__ = "prediction_runs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model_id: Mapped[int] = mapped_column(BigId, ForeignKey("models.id"))
    champion_id: Mapped[int] = mapped_column(BigId, ForeignKey("model_versions.id"))
    challenger_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("model_versions.id"))
    job_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    processed: Mapped[int] = mapped_column(BigId, default=0)
    written: Mapped[int] = mapped_column(BigId, default=0)
    unchanged: Mapped[int] = mapped_column(BigId, default=0)
    # Of those written or unchanged, how many are the challenger's.
    challenged: Mapped[int] = mapped_column(BigId, default=0)
    rejected: Mapped[int] = mapped_column(BigId, default=0)
    # How many for which reason; the least frequent reasons together where there are many.
    rejections: Mapped[dict[str, int]] = mapped_column(Json)

    __table_args__ = (Index("ix_prediction_runs_model_id_id", "model_id", "id"),)


class Prediction(Base):
    """What a version says of a record.

    There is one of each version for each record, so a second run over the same records changes
    nothing; where the record has changed (``content_hash``), it is predicted anew.
    """

    __tablename__ = "predictions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    version_id: Mapped[int] = mapped_column(BigId, ForeignKey("model_versions.id"))
    key: Mapped[str] = mapped_column(String(255))
    content_hash: Mapped[str] = mapped_column(String(64))
    label: Mapped[str | None] = mapped_column(String(200))
    number: Mapped[float | None] = mapped_column(Float)
    probability: Mapped[float | None] = mapped_column(Float)
    run_id: Mapped[int] = mapped_column(BigId, ForeignKey("prediction_runs.id"))
    predicted_at: Mapped[datetime] = mapped_column(UtcTime)

    __table_args__ = (
        Index("uq_predictions_version_id_key", "version_id", "key", unique=True),
        Index("ix_predictions_version_id_id", "version_id", "id"),
    )
