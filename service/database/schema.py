"""The tables.

Times are seconds since the epoch, UTC, as float64: both databases compare them alike.
"""

from typing import Any

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
    text,
)

metadata = MetaData()

# Most fits are of no batch, and stand in none of its indexes.
_IN_A_BATCH = text("batch_id IS NOT NULL")
_OF_BATCHES: Any = {"sqlite_where": _IN_A_BATCH, "postgresql_where": _IN_A_BATCH}

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

batches = Table(
    "batches",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("name", String(200)),
    Column("created_at", Double, nullable=False),
    # Known once every fit of the batch has ended; from then on the counts stay as they are.
    Column("finished_at", Double),
    Column("counts", JSON),
    Column("expires_at", Double),
    Column("deleted_at", Double),
    Column("cancelled_at", Double),
    Column("n_fits", Integer, nullable=False),
    # The dotted paths into their specs at which the fits differ.
    Column("varied", JSON, nullable=False),
    # What names the best one, and whether that is the least or the largest number.
    Column("metric", String(100), nullable=False),
    Column("mode", String(10), nullable=False),
    Column("tags", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Index("ix_batches_owner_id", "owner", "id"),
    Index("ix_batches_finished_at", "finished_at"),
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
    # The request that made it, as logs name it.
    Column("traceparent", String(60)),
    Column("request_id", String(128)),
    Column("tags", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    # One of a batch: which one, from 0, and the number by which the best one is chosen.
    Column("batch_id", String(40), ForeignKey("batches.id", name="fk_fits_batch_id")),
    Column("position", Integer),
    Column("score", Double),
    Index("ix_fits_owner_kind_id", "owner", "kind", "id"),
    Index("ix_fits_status_woken_at", "status", "woken_at"),
    Index("ix_fits_status_lease", "status", "lease_expires_at"),
    Index("ix_fits_dataset_id_status", "dataset_id", "status"),
    Index("ix_fits_validation_dataset_id_status", "validation_dataset_id", "status"),
    Index("ix_fits_owner_spec_digest", "owner", "spec_digest"),
    # A batch's fits in their order; and its counts and its best one, from the index alone.
    Index("ix_fits_batch_id_id", "batch_id", "id", **_OF_BATCHES),
    Index("ix_fits_batch_id_status_score", "batch_id", "status", "score", "id", **_OF_BATCHES),
)

# In the very order in which they are claimed: else each claim would sort all that wait.
Index(
    "ix_fits_status_queue",
    fits.c.status,
    fits.c.queue,
    fits.c.owner,
    fits.c.priority.desc(),
    fits.c.created_at,
    fits.c.id,
)

# When each owner's fits were last claimed from a queue, while others waited too.
turns = Table(
    "turns",
    metadata,
    Column("queue", String(40), primary_key=True),
    Column("owner", String(100), primary_key=True),
    Column("taken_at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    # Messages are signed with it: it cannot be a digest.
    Column("webhook_secret", String(100), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Index("ix_api_keys_owner", "owner"),
)

# What was answered to a request that may come again.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", String(100), primary_key=True),
    Column("key", String(255), primary_key=True),
    # Of the request's method, address and body.
    Column("digest", String(80), nullable=False),
    # What the request made: known before the answer is.
    Column("made", String(40), nullable=False),
    Column("answering_until", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("status", Integer),
    Column("headers", JSON),
    Column("body", LargeBinary),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
)

# Messages to clients' own servers about ends: each is tried until it is delivered or given up.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(100), nullable=False),
    # What it tells of.
    Column("subject", String(40), nullable=False),
    Column("url", Text, nullable=False),
    # The address's host and port.
    Column("host", Text, nullable=False, server_default=""),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    # waiting, delivered, given_up or switched_off.
    Column("state", String(20), nullable=False),
    Column("n_tries", Integer, nullable=False),
    # When it is tried next; of one that waits no more, since when it does not.
    Column("next_at", Double, nullable=False),
    Column("last_error", Text),
    Index("ix_deliveries_state_next_at", "state", "next_at"),
    # Who has messages to which hosts, and which of them is due first, from the index alone.
    Index("ix_deliveries_state_owner_host_next_at", "state", "owner", "host", "next_at"),
)

# How each host of addresses has answered an owner's messages.
webhook_hosts = Table(
    "webhook_hosts",
    metadata,
    Column("owner", String(100), primary_key=True),
    Column("host", Text, primary_key=True),
    # When it last answered anything at all; 0 where it never has.
    Column("answered_at", Double, nullable=False),
    # Since then: how often it was found away, when that was first, and at which address last.
    Column("failures", Integer, nullable=False),
    Column("first_failed_at", Double),
    Column("silent_url", Text),
    # None of the owner's messages to it is tried before that.
    Column("away_until", Double, nullable=False),
)

# Addresses that have answered 410.
webhooks_off = Table(
    "webhooks_off",
    metadata,
    Column("owner", String(100), primary_key=True),
    Column("url", String(2000), primary_key=True),
    Column("since", Double, nullable=False),
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
