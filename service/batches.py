"""Looking batches up, ending them before their time, and forgetting them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.context import Context
from service.database import batches as queries
from service.database import fits as fit_queries
from service.database import life
from service.errors import Conflict, Gone, NotFound
from service.ids import rfc3339
from service.kinds import FIT
from service.retention import expiry, has_expired
from service.schemas.lists import ListQuery, Page
from service.storage import discard
from service.waking import announce_ends, tell_status
from service.webhooks import Ended, owe

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Progress:
    """A batch's status, and what it follows from; `is_cancelled` since it was asked to end."""

    status: str
    counts: Counts
    n_fits: int
    is_cancelled: bool


def get_batch(context: Context, batch_id: str, owner: str) -> dict[str, Any]:
    """The batch as clients see it; raises NotFound and Gone."""
    row = find_row(context, batch_id, owner)
    with context.database.read() as connection:
        counts = row["counts"] or queries.count_fits(connection, [batch_id])[batch_id]
        best = queries.find_best(connection, batch_id, row["mode"])
    return batch_body(row, counts, best)


def get_progress(context: Context, batch_id: str, owner: str) -> Progress:
    """How far the batch has come, for less than all of it costs; raises NotFound and Gone."""
    row = find_row(context, batch_id, owner)
    counts = row["counts"]
    if counts is None:
        with context.database.read() as connection:
            counts = queries.count_fits(connection, [batch_id])[batch_id]
    return Progress(_status(row, counts), counts, row["n_fits"], row["cancelled_at"] is not None)


def find_row(context: Context, batch_id: str, owner: str) -> dict[str, Any]:
    """The row of a batch that is there; raises NotFound and Gone."""
    with context.database.read() as connection:
        row = queries.find_batch(connection, batch_id)
    if row is None or row.owner != owner:
        raise NotFound(f"there is no batch {batch_id!r}")
    if row.deleted_at is not None or has_expired(row, time.time()):
        raise Gone(f"the batch {batch_id} has been deleted or has expired")
    return row._asdict()


def list_batches(context: Context, query: ListQuery, owner: str) -> Page:
    """The owner's batches, newest first."""
    with context.database.read() as connection:
        rows, more = queries.page_of_batches(connection, query, owner, time.time())
        # Those of ended ones are known.
        counts = queries.count_fits(connection, [row.id for row in rows if row.counts is None])
        data = [
            batch_body(
                row._asdict(),
                row.counts or counts[row.id],
                queries.find_best(connection, row.id, row.mode),
            )
            for row in rows
        ]
    return Page(data, rows[-1].id if more else None)


def list_fits_of(context: Context, batch_id: str, query: ListQuery, owner: str) -> Page:
    """The batch's fits, newest first; raises NotFound and Gone."""
    find_row(context, batch_id, owner)
    with context.database.read() as connection:
        rows, more = fit_queries.page_of_fits(
            connection, query, owner, time.time(), batch_id=batch_id
        )
    return Page([FIT.body(row._asdict()) for row in rows], rows[-1].id if more else None)


def cancel_batch(context: Context, batch_id: str, owner: str) -> dict[str, Any]:
    """End the fits that wait now, and have workers end those at work; the batch then.

    Raises NotFound, Gone, and Conflict where every fit has ended.
    """
    find_row(context, batch_id, owner)
    now = time.time()
    expires_at = expiry(context, now)
    with context.database.write() as connection:
        changed = life.cancel_all_of(connection, batch_id, now)
        if not changed and not queries.has_unended(connection, batch_id):
            raise Conflict(f"the batch {batch_id} has ended already")
        queries.note_cancelled(connection, batch_id, now)
        ended = [
            Ended(row.id, row.kind, row.owner, row.spec, "cancelled", "cancelled")
            for row in changed
            if row.status == "cancelled"
        ]
        owe(connection, ended, now)
        over = queries.end_batches(connection, [batch_id], now=now, expires_at=expires_at)
    announce_ends(context, ended, batches=over)
    tell_status(context, "cancelling", {r.id: 0 for r in changed if r.status == "cancelling"})
    return get_batch(context, batch_id, owner)


def delete_batch(context: Context, batch_id: str, owner: str) -> None:
    """Forget an ended batch with its fits; raises NotFound, Gone, and Conflict before its end."""
    find_row(context, batch_id, owner)
    with context.database.write() as connection:
        stored = queries.mark_batch_deleted(connection, batch_id, time.time())
    if stored is None:
        raise Conflict(f"the batch {batch_id} has not ended")
    for fit_id in stored:
        discard(context.storage.delete_below, f"fits/{fit_id}")


def has_ended(context: Context, batch_id: str) -> bool:
    """Whether every fit of the batch has ended."""
    with context.database.read() as connection:
        return not queries.has_unended(connection, batch_id)


def batch_body(row: Mapping[str, Any], counts: Counts, best: Any | None) -> dict[str, Any]:
    """The batch's answer body, without the URLs that the edge adds."""
    return {
        "id": row["id"],
        "object": "batch",
        "name": row["name"],
        "status": _status(row, counts),
        "created_at": rfc3339(row["created_at"]),
        "finished_at": rfc3339(row.get("finished_at")),
        "expires_at": rfc3339(row.get("expires_at")),
        "n_fits": row["n_fits"],
        "counts": dict(counts),
        "varied": row["varied"],
        "select": {"metric": row["metric"], "mode": row["mode"]},
        "best": None if best is None else {"id": best.id, "value": best.score},
        "tags": row["tags"],
        "metadata": row["metadata"],
    }


def _status(row: Mapping[str, Any], counts: Counts) -> str:
    """A fit's states: an ended batch has succeeded where it was not cancelled and any fit has."""
    cancelled = row.get("cancelled_at") is not None
    if counts["queued"] or counts["running"]:
        begun = counts["queued"] < row["n_fits"]
        return "cancelling" if cancelled else "running" if begun else "queued"
    if cancelled and counts["cancelled"]:
        return "cancelled"
    return next(name for name in ("succeeded", "failed", "cancelled") if counts[name])
