"""Forgetting what has expired: datasets that no unfinished fit needs, and ended fits."""

from typing import Any

import structlog

from service.context import Context
from service.database import batches as batch_queries
from service.database import datasets as dataset_queries
from service.database import fits as fit_queries

log = structlog.get_logger(__name__)

# Below it stand the tables that errands take and bring.
ERRANDS = "errands"

_AT_ONCE = 100


def expiry(context: Context, created_at: float) -> float | None:
    """When something made now is forgotten, seconds since the epoch; None: never."""
    kept_seconds = context.settings.retention_seconds
    return None if kept_seconds is None else created_at + kept_seconds


def has_expired(row: Any, now: float) -> bool:
    """Whether the row's time is over; `forget_expired` may come to it only later."""
    return row.expires_at is not None and row.expires_at < now


def forget_expired(context: Context, now: float) -> None:
    """Mark what has expired as deleted, then drop its objects; safe to run many times at once."""
    with context.database.write() as connection:
        datasets = dataset_queries.expire_datasets(connection, now=now, limit=_AT_ONCE)
        fits = fit_queries.expire_fits(connection, now=now, limit=_AT_ONCE)
        batch_queries.expire_batches(connection, now=now)
    for storage_key in datasets:
        context.storage.delete(storage_key)
    for fit_id in fits:
        context.storage.delete_below(f"fits/{fit_id}")
    context.storage.forget_scratch(now)
    context.storage.forget_below(ERRANDS, now - context.settings.orphan_seconds)
    if datasets or fits:
        log.info("expired", datasets=len(datasets), fits=len(fits))
