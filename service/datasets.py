"""What can be done with datasets."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.context import Context
from service.database import Connection, DatabaseError
from service.database import datasets as queries
from service.errors import Conflict, Gone, InvalidInput, NotFound, Place, Quota, QuotaExceeded
from service.idempotency import Ticket, redeem
from service.ids import new_id, rfc3339
from service.limits import Hold, hold_bounded
from service.retention import expiry, has_expired
from service.schemas.datasets import DatasetRequest
from service.schemas.lists import ListQuery, Page
from service.storage import discard
from service.tables.ingest import Missing, ingest
from service.tables.inline import inline_pieces, pointing
from service.tables.pieces import Piece
from service.tables.writers import content

_PUT_AT_ONCE = 16


@dataclass(frozen=True)
class About:
    """What a dataset carries beside its numbers."""

    owner: str
    name: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NewDataset:
    """A table that has been read: its row, and its content in a scratch directory."""

    row: dict[str, Any]
    path: Path


def create_dataset(
    context: Context,
    pieces: Iterator[Piece],
    about: About,
    missing: Missing = "refuse",
    ticket: Ticket | None = None,
) -> dict[str, Any]:
    """Keep the table; the dataset as clients see it.

    A ticket is redeemed by it. Raises InvalidTable, TooLarge and KeyInFlight.
    """
    with context.storage.scratch() as scratch:
        new = read_table(context, pieces, about, missing, scratch)
        add(context, new, also=lambda connection: redeem(connection, ticket, new.row["id"]))
    return _represent(new.row)


def create_inline_dataset(
    context: Context,
    request: DatasetRequest,
    owner: str,
    missing: Missing = "refuse",
    ticket: Ticket | None = None,
) -> dict[str, Any]:
    """Keep a table that came in JSON; the dataset as clients see it.

    A ticket is redeemed by it. Raises InvalidTable and KeyInFlight.
    """
    with context.storage.scratch() as scratch:
        new = read_inline(context, request, owner, scratch, missing=missing)
        add(context, new, also=lambda connection: redeem(connection, ticket, new.row["id"]))
    return _represent(new.row)


def read_inline(
    context: Context,
    request: DatasetRequest,
    owner: str,
    scratch: Path,
    *,
    above: tuple[str, ...] = (),
    missing: Missing = "refuse",
) -> NewDataset:
    """Read a table that came in JSON; raises InvalidTable with pointers into the body.

    `above` leads to the table from the body's root.
    """
    about = About(owner, request.name, request.tags, request.metadata)
    with pointing(request, *above):
        pieces = inline_pieces(request, context.settings.max_inline_rows)
        return read_table(context, pieces, about, missing, scratch)


def read_table(
    context: Context, pieces: Iterator[Piece], about: About, missing: Missing, scratch: Path
) -> NewDataset:
    """Read a table into the scratch directory; raises InvalidTable and TooLarge."""
    path = scratch / "table.arrow"
    read = ingest(pieces, missing, path)
    _refuse_too_many_rows(context, read.n_rows)
    dataset_id = new_id("ds")
    now = time.time()
    row = {
        "id": dataset_id,
        "owner": about.owner,
        "name": about.name,
        "created_at": now,
        "expires_at": expiry(context, now),
        "n_rows": read.n_rows,
        "n_dropped": read.n_dropped,
        "size_bytes": read.size_bytes,
        "digest": read.digest,
        "columns": read.columns,
        "storage_key": f"datasets/{dataset_id}.arrow",
        "tags": about.tags,
        "metadata": about.metadata,
    }
    return NewDataset(row, path)


def _refuse_too_many_rows(context: Context, n_rows: int) -> None:
    most_rows = context.settings.max_rows
    if most_rows is not None and n_rows > most_rows:
        detail = f"{n_rows} rows are past the limit of {most_rows} (max_rows)"
        raise InvalidInput(detail, places=[Place("too_many_rows", detail)])


def _refuse_too_many_bytes(
    context: Context, connection: Connection, new: Sequence[NewDataset], used: set[str]
) -> None:
    """Raise QuotaExceeded where content that has just been inserted is more than its owner may."""
    most = context.settings.max_owner_stored_bytes
    n_new = sum(one.row["size_bytes"] for one in new if one.row["storage_key"] in used)
    if most is None or not n_new:
        return
    stored = queries.stored_bytes(connection, new[0].row["owner"])
    if stored > most:
        before = stored - n_new
        raise QuotaExceeded(
            f"{before} bytes of yours are stored, and {n_new} more are past the limit of {most}; "
            "delete what is no longer needed",
            Quota("stored-bytes", most, max(0, most - before), "content-bytes"),
        )


def _nothing_else(_: Connection) -> None:
    """The dataset alone."""


def add(
    context: Context,
    new: NewDataset,
    also: Callable[[Connection], None] = _nothing_else,
    hold: Hold = hold_bounded,
) -> None:
    """Keep the dataset, as `add_all` keeps several."""
    add_all(context, new.row["owner"], [new], also, hold)


def add_all(
    context: Context,
    owner: str,
    new: Sequence[NewDataset],
    also: Callable[[Connection], None],
    hold: Hold,
) -> None:
    """Keep an owner's datasets: the objects first, the rows last. Equal content is kept once.

    `also` is part of the one transaction that inserts the rows; where it raises nothing is kept.
    `hold` begins it: whoever counts more than the owner's bytes holds more.
    """
    put: set[str] = set()

    def insert(connection: Connection) -> set[str]:
        hold(context.settings, connection, owner)
        used = {_insert(context, connection, one, put) for one in new}
        _refuse_too_many_bytes(context, connection, new, used)
        also(connection)
        return used

    try:
        missing = [one for one in new if not _has_content(context, one)]
        _put_all(context, missing, put)
        used = context.database.write_together(insert)
    except BaseException as error:
        # Whether a commit was made whose answer was lost, only the rows know: the sweeper looks.
        if not isinstance(error, DatabaseError):
            _drop(context, put)
        raise
    _drop(context, put - used)


def _has_content(context: Context, new: NewDataset) -> bool:
    with context.database.read() as connection:
        return queries.has_content(connection, new.row["owner"], new.row["digest"])


def _put_all(context: Context, new: Sequence[NewDataset], put: set[str]) -> None:
    """Put many at a time: each waits for the disk, which writes as fast for many as for one."""
    if len(new) <= 1:
        for one in new:
            _put(context, one, put)
        return
    with ThreadPoolExecutor(_PUT_AT_ONCE) as pool:
        for done in [pool.submit(_put, context, one, put) for one in new]:
            done.result()


def _put(context: Context, new: NewDataset, put: set[str]) -> None:
    own_key = new.row["storage_key"]
    context.storage.put_file(own_key, new.path)
    put.add(own_key)


def _insert(context: Context, connection: Connection, new: NewDataset, put: set[str]) -> str:
    """Insert the row; the key of its content, which another request may have brought meanwhile."""
    row = new.row
    key = queries.hold_content(connection, row["owner"], row["digest"])
    if key is None:
        key = row["storage_key"]
        if key not in put:
            # Equal content was there, and has been deleted since.
            _put(context, new, put)
    queries.insert_dataset(connection, row | {"storage_key": key})
    return str(key)


def _drop(context: Context, keys: set[str]) -> None:
    for key in keys:
        discard(context.storage.delete, key)


def find_row(context: Context, dataset_id: str, owner: str) -> Mapping[str, Any]:
    """The row of a dataset that is there; raises NotFound and Gone."""
    with context.database.read() as connection:
        row = queries.find_dataset(connection, dataset_id, owner)
    if row is None:
        raise NotFound(f"there is no dataset {dataset_id!r}")
    if row.deleted_at is not None or has_expired(row, time.time()):
        raise Gone(f"the dataset {dataset_id} has been deleted or has expired")
    return row._asdict()


def find_named_row(
    context: Context, dataset_id: str, owner: str, pointer: str
) -> Mapping[str, Any]:
    """The row of a dataset that a body names; raises NotFound and Gone with the pointer to it."""
    try:
        return find_row(context, dataset_id, owner)
    except (NotFound, Gone) as error:
        place = Place(error.code, error.detail, pointer)
        raise type(error)(error.detail, places=[place]) from None


def get_dataset(context: Context, dataset_id: str, owner: str) -> dict[str, Any]:
    """The dataset as clients see it; raises NotFound and Gone."""
    return _represent(find_row(context, dataset_id, owner))


def read_content(context: Context, dataset: Mapping[str, Any], media_type: str) -> Iterator[bytes]:
    """The table of a dataset's row in the format of the media type, in pieces.

    Raises Gone where the dataset was deleted meanwhile.
    """
    try:
        with context.storage.local(dataset["storage_key"]) as path:
            yield from content(path, media_type)
    except (KeyError, FileNotFoundError):
        raise Gone(f"the dataset {dataset['id']} has been deleted") from None


def list_datasets(context: Context, query: ListQuery, owner: str) -> Page:
    """The owner's datasets, newest first."""
    with context.database.read() as connection:
        rows, more = queries.page_of_datasets(connection, query, owner, time.time())
    return Page([_represent(row._asdict()) for row in rows], rows[-1].id if more else None)


def delete_dataset(context: Context, dataset_id: str, owner: str) -> None:
    """Forget the dataset; raises NotFound, Gone, and Conflict while a fit needs it."""
    key = find_row(context, dataset_id, owner)["storage_key"]
    with context.database.write() as connection:
        queries.hold_datasets_of(connection, key)
        if not queries.hold_dataset(connection, dataset_id):
            raise Gone(f"the dataset {dataset_id} has been deleted")
        needed = queries.count_unfinished_fits(connection, dataset_id)
        if needed:
            raise Conflict(f"{needed} queued or running fits need the dataset {dataset_id}")
        queries.mark_dataset_deleted(connection, dataset_id, time.time())
        unused = queries.unused_keys(connection, [key])
    for unused_key in unused:
        discard(context.storage.delete, unused_key)


def _represent(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "dataset",
        "name": row["name"],
        "created_at": rfc3339(row["created_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "n_rows": row["n_rows"],
        "n_dropped": row["n_dropped"],
        "size_bytes": row["size_bytes"],
        "digest": row["digest"],
        "columns": row["columns"],
        "tags": row["tags"],
        "metadata": row["metadata"],
    }
