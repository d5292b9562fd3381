"""The tables.

Times are seconds since the epoch, UTC, as float64: both databases compare them alike.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("name", String(200)),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("deleted_at", Double),
    Column("n_rows", BigInteger, nullable=False),
    Column("n_dropped", BigInteger, nullable=False, server_default="0"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("columns", JSON, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Index("ix_datasets_owner_id", "owner", "id"),
    # Equal content of one owner is kept once, under one storage key.
    Index("ix_datasets_owner_digest", "owner", "digest"),
    Index("ix_datasets_storage_key", "storage_key"),
)

fits = Table(
    "fits",
    metadata,
    Column("id", String(40), primary_key=True),
    # A learning-rate range test has the life of a fit, and is a row of its own kind.
    Column("kind", String(20), nullable=False, server_default="fit"),
    Column("owner", String(100), nullable=False),
    Column("status", String(20), nullable=False),
    Column("stop_reason", String(20)),
    Column("dataset_id", String(40), ForeignKey("datasets.id"), nullable=False),
    Column(
        "validation_dataset_id",
        String(40),
        ForeignKey("datasets.id", name="fk_fits_validation_dataset_id"),
    ),
    Column("spec", JSON, nullable=False),
    # Equal where the same numbers follow from equal datasets.
    Column("spec_digest", String(80)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("expires_at", Double),
    Column("deleted_at", Double),
    # Which workers take it, and in which order: 0 is normal, and more comes first.
    Column("queue", String(40), nullable=False, server_default="fits.cpu"),
    Column("priority", Integer, nullable=False, server_default="0"),
    # Roughly what it takes: as many waiting ones are claimed together as are worth it.
    Column("estimated_seconds", Double, nullable=False, server_default="0"),
    # Whether the claim that holds it, or lost it, was one of several, and whether it must be alone.
    Column("grouped", Boolean, nullable=False, server_default=false()),
    Column("alone", Boolean, nullable=False, server_default=false()),
    # Shown to clients: 1, and one more for every worker that the fit lost.
    Column("attempt", Integer, nullable=False),
    # The fencing token: one more with every claim, and asked for by every later write.
    Column("fence", Integer, nullable=False),
    Column("lease_expires_at", Double),
    Column("worker", String(200)),
    # When a worker was last sent for; none yet where the wake-up is still owed.
    Column("woken_at", Double),
    Column("progress", JSON),
    Column("result", JSON),
    Column("error", JSON),
    Column("traceparent", String(60)),
    Column("tags", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Index("ix_fits_owner_kind_id", "owner", "kind", "id"),
    Index("ix_fits_status_woken_at", "status", "woken_at"),
    Index("ix_fits_status_queue", "status", "queue", "priority", "created_at"),
    Index("ix_fits_status_lease", "status", "lease_expires_at"),
    Index("ix_fits_dataset_id_status", "dataset_id", "status"),
    Index("ix_fits_validation_dataset_id_status", "validation_dataset_id", "status"),
    Index("ix_fits_owner_spec_digest", "owner", "spec_digest"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("fit_id", String(40), ForeignKey("fits.id"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # Either the bytes themselves or where the object store has them.
    Column("content", LargeBinary),
    Column("storage_key", Text),
)
