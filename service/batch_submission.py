"""Taking a batch in: look at every fit, queue them all in one transaction, wake a worker."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from service.batch_members import Member, Members, Parse, prepared_members
from service.batches import batch_body
from service.callers import Caller
from service.chunks import chunks
from service.context import Context
from service.database import Connection
from service.database import batches as queries
from service.database import datasets as dataset_queries
from service.database import fits as fit_queries
from service.datasets import add_all
from service.errors import Gone, InvalidInput, Place
from service.idempotency import Ticket, redeem
from service.ids import new_id, new_ids
from service.limits import hold_queue
from service.schemas.batches import Select
from service.starts import stored_origins
from service.submission import refuse_full
from service.sweeps import Bodies
from service.waking import wake

log = structlog.get_logger(__name__)

_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class About:
    """What a batch carries beside its fits, and by what the best of them is chosen."""

    name: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    select: Select = field(default_factory=Select)


def submit_batch(
    context: Context,
    bodies: Bodies,
    about: About,
    *,
    owner: str,
    parse: Parse,
    ticket: Ticket | None = None,
) -> dict[str, Any]:
    """Queue every fit or none, then wake a worker; the batch as clients see it.

    A ticket is redeemed by it. Raises InvalidInput with the places to mend; NotFound or Gone for
    what a fit names; QueueFull, QuotaExceeded and KeyInFlight.
    """
    # Where there is no room, no body need be looked at; the transaction asks again.
    with context.database.read() as connection:
        refuse_full(context, connection, owner, len(bodies))
    with prepared_members(context, bodies, owner, parse) as members:
        _refuse_metric(about.select, members)
        row = _row(about, members, owner)
        ids = new_ids("fit", len(members.fits))
        _queue(context, members, row, ids, ticket)
        queues = {one.queue for one in members.fits}
    log.info("batch_submitted", **context.caller.named, batch_id=row["id"], n_fits=len(ids))
    wake(context, sorted(queues))
    counts = {"queued": len(ids), "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}
    return batch_body(row, counts, None)


def _queue(
    context: Context,
    members: Members,
    row: dict[str, Any],
    ids: list[str],
    ticket: Ticket | None,
) -> None:
    """All of it in one transaction."""
    fits = zip(ids, members.fits, strict=True)
    origins = {fit_id: one.origin for fit_id, one in fits if one.origin is not None}
    with stored_origins(context, origins) as artifacts:

        def insert(connection: Connection) -> None:
            refuse_full(context, connection, row["owner"], len(ids))
            _hold(connection, members)
            queries.insert_batch(connection, row)
            for rows in chunks(_fit_rows(row, ids, members.fits, context.caller), _ROWS_AT_ONCE):
                fit_queries.insert_fits(connection, rows)
            if artifacts:
                fit_queries.insert_artifacts(connection, artifacts)
            redeem(connection, ticket, row["id"])

        add_all(context, row["owner"], members.new, also=insert, hold=hold_queue)


def _refuse_metric(select: Select, members: Members) -> None:
    if select.metric in members.metrics:
        return
    detail = (
        f"no fit of the batch has {select.metric!r}; they have {', '.join(sorted(members.metrics))}"
    )
    raise InvalidInput(detail, places=[Place("no_such_metric", detail, "/select/metric")])


def _hold(connection: Connection, members: Members) -> None:
    there = dataset_queries.hold_datasets(connection, [*members.named])
    for dataset_id, where in members.named.items():
        if dataset_id not in there:
            detail = f"the dataset {dataset_id} has been deleted"
            raise Gone(detail, places=[Place("gone", detail, where)])


def _row(about: About, members: Members, owner: str) -> dict[str, Any]:
    return {
        "id": new_id("bat"),
        "owner": owner,
        "name": about.name,
        "created_at": time.time(),
        "n_fits": len(members.fits),
        "varied": members.varied,
        "metric": about.select.metric,
        "mode": about.select.direction,
        "tags": about.tags,
        "metadata": about.metadata,
    }


def _fit_rows(
    batch: dict[str, Any], ids: list[str], members: list[Member], caller: Caller
) -> Iterator[dict[str, Any]]:
    now = batch["created_at"]
    common = {
        "kind": "fit",
        "owner": batch["owner"],
        "status": "queued",
        "created_at": now,
        "attempt": 1,
        "fence": 0,
        "woken_at": now,
        **caller.named,
        "batch_id": batch["id"],
    }
    for i, (fit_id, member) in enumerate(zip(ids, members, strict=True)):
        yield common | {
            "id": fit_id,
            "position": i,
            "dataset_id": member.dataset_id,
            "validation_dataset_id": member.validation_dataset_id,
            # It is JSON already.
            "spec": orjson.Fragment(member.spec),
            "spec_digest": member.spec_digest,
            "queue": member.queue,
            "priority": member.priority,
            "estimated_seconds": member.estimated_seconds,
            "tags": member.tags,
            "metadata": member.metadata,
        }
