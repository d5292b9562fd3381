"""Looking fits, and other jobs with their life, up, and forgetting them.

Each function is for fits unless it is given another kind; a job of another kind is not there.
"""

import time
from collections.abc import Sequence
from typing import Any

from service.artifacts import Arrays, load_arrays
from service.context import Context
from service.database import fits as queries
from service.errors import Conflict, Gone, NotFound
from service.kinds import FIT, Kind
from service.retention import has_expired
from service.schemas.lists import ListQuery, Page
from service.storage import discard


def get_fit(context: Context, fit_id: str, owner: str, kind: Kind = FIT) -> dict[str, Any]:
    """The fit as clients see it; raises NotFound and Gone."""
    return kind.body(find_row(context, fit_id, owner, kind))


def find_row(context: Context, fit_id: str, owner: str, kind: Kind = FIT) -> dict[str, Any]:
    """The row of a fit that is there, beside its dataset's facts; raises NotFound and Gone."""
    with context.database.read() as connection:
        row = queries.find_fit(connection, fit_id, owner, kind.name)
    return _there(row, fit_id, kind)


def _there(row: Any, fit_id: str, kind: Kind) -> dict[str, Any]:
    if row is None:
        raise NotFound(f"there is no {kind.noun} {fit_id!r}")
    if row.deleted_at is not None or has_expired(row, time.time()):
        raise Gone(f"the {kind.noun} {fit_id} has been deleted or has expired")
    found: dict[str, Any] = row._asdict()
    return found


def get_fits(
    context: Context, ids: Sequence[str], owner: str, kind: Kind = FIT
) -> list[dict[str, Any]]:
    """The fits of these ids, in their order.

    Raises NotFound or Gone for the first that is not there.
    """
    with context.database.read() as connection:
        rows = {r.id: r for r in queries.find_fits(connection, ids, owner, kind.name)}
    return [kind.body(_there(rows.get(fit_id), fit_id, kind)) for fit_id in ids]


def fit_row(context: Context, fit_id: str) -> dict[str, Any]:
    """A fit as the database has it beside its dataset's facts, for the workers.

    Whoever owns it, and of whatever kind; raises NotFound.
    """
    with context.database.read() as connection:
        row = queries.find_fit(connection, fit_id)
    if row is None:
        raise NotFound(f"there is no fit {fit_id!r}")
    return row._asdict()


def list_fits(context: Context, query: ListQuery, owner: str, kind: Kind = FIT) -> Page:
    """The owner's fits, newest first."""
    with context.database.read() as connection:
        rows, more = queries.page_of_fits(connection, query, owner, time.time(), kind.name)
    return Page([kind.body(row._asdict()) for row in rows], rows[-1].id if more else None)


def delete_fit(context: Context, fit_id: str, owner: str, kind: Kind = FIT) -> None:
    """Forget an ended fit; raises NotFound, Gone, and Conflict before its end."""
    find_row(context, fit_id, owner, kind)
    with context.database.write() as connection:
        if not queries.mark_fit_deleted(connection, fit_id, time.time()):
            raise Conflict(f"the {kind.noun} {fit_id} has not ended")
    discard(context.storage.delete_below, f"fits/{fit_id}")


def read_artifact(context: Context, fit_id: str, name: str, owner: str) -> Arrays:
    """The arrays of an ended fit; raises NotFound and Gone."""
    find_row(context, fit_id, owner)
    return load_arrays(context, fit_id, name)
