"""What can be done with datasets."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from service.context import Context
from service.database import datasets as queries
from service.errors import Conflict, Gone, NotFound
from service.ids import new_id, rfc3339
from service.retention import expiry, has_expired
from service.schemas.lists import ListQuery, Page
from service.tables import Table, to_arrow


def create_dataset(
    context: Context,
    table: Table,
    *,
    owner: str,
    name: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Keep the table: the object first, the row last; the dataset as clients see it."""
    content = to_arrow(table)
    row = new_row(
        context, table, len(content), owner=owner, name=name, tags=tags, metadata=metadata
    )
    context.storage.put(row["storage_key"], content)
    with context.database.write() as connection:
        queries.insert_dataset(connection, row)
    return _represent(row)


def new_row(
    context: Context,
    table: Table,
    size_bytes: int,
    *,
    owner: str,
    name: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The row that makes the table a dataset, once its object is stored under `storage_key`."""
    dataset_id = new_id("ds")
    now = time.time()
    return {
        "id": dataset_id,
        "owner": owner,
        "name": name,
        "created_at": now,
        "expires_at": expiry(context, now),
        "n_rows": table.n_rows,
        "size_bytes": size_bytes,
        "digest": table.digest(),
        "columns": table.summary(),
        "storage_key": f"datasets/{dataset_id}.arrow",
        "tags": list(tags),
        "metadata": dict(metadata or {}),
    }


def find_row(context: Context, dataset_id: str, owner: str) -> Mapping[str, Any]:
    """The row of a dataset that is there; raises NotFound and Gone."""
    with context.database.read() as connection:
        row = queries.find_dataset(connection, dataset_id, owner)
    if row is None:
        raise NotFound(f"there is no dataset {dataset_id!r}")
    if row.deleted_at is not None or has_expired(row, time.time()):
        raise Gone(f"the dataset {dataset_id} has been deleted or has expired")
    return row._asdict()


def get_dataset(context: Context, dataset_id: str, owner: str) -> dict[str, Any]:
    """The dataset as clients see it; raises NotFound and Gone."""
    return _represent(find_row(context, dataset_id, owner))


def list_datasets(context: Context, query: ListQuery, owner: str) -> Page:
    """The owner's datasets, newest first."""
    with context.database.read() as connection:
        rows, more = queries.page_of_datasets(connection, query, owner, time.time())
    return Page([_represent(row._asdict()) for row in rows], rows[-1].id if more else None)


def delete_dataset(context: Context, dataset_id: str, owner: str) -> None:
    """Forget the dataset; raises NotFound, Gone, and Conflict while a fit needs it."""
    row = find_row(context, dataset_id, owner)
    with context.database.write() as connection:
        if not queries.hold_dataset(connection, dataset_id):
            raise Gone(f"the dataset {dataset_id} has been deleted")
        needed = queries.count_unfinished_fits(connection, dataset_id)
        if needed:
            raise Conflict(f"{needed} queued or running fits need the dataset {dataset_id}")
        queries.mark_dataset_deleted(connection, dataset_id, time.time())
    context.storage.delete(row["storage_key"])


def _represent(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "dataset",
        "name": row["name"],
        "created_at": rfc3339(row["created_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "n_rows": row["n_rows"],
        "size_bytes": row["size_bytes"],
        "digest": row["digest"],
        "columns": row["columns"],
        "tags": row["tags"],
        "metadata": row["metadata"],
    }
