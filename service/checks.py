"""The checks of a fit: those that came with it, and others after its end."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.artifacts import load_arrays
from service.check_targets import target_places
from service.checking import Found, evaluate, summary
from service.context import Context
from service.database import datasets as dataset_queries
from service.errands import run_errand
from service.errors import Conflict, InvalidInput
from service.fits import find_row
from service.passing_tables import passing_prefix
from service.representation import checks_of
from service.schemas.checks import ChecksRequest
from service.schemas.common import TERMINAL
from service.tables.encoding import encode
from service.tables.stored import StoredTable


def given_checks(context: Context, fit_id: str, owner: str) -> dict[str, Any]:
    """Those of the fit's own body, with the score; raises NotFound and Gone."""
    return summary(checks_of(find_row(context, fit_id, owner)))


def check_fit(context: Context, fit_id: str, request: ChecksRequest, owner: str) -> dict[str, Any]:
    """The request's checks, with the score; nothing of them is kept.

    Raises NotFound and Gone; Conflict before the fit's end; InvalidInput for a target that the fit
    cannot have; and, for predictions, what `run_errand` raises.
    """
    row = find_row(context, fit_id, owner)
    if row["status"] not in TERMINAL:
        raise Conflict(f"the fit {fit_id} has not ended: it is {row['status']}")
    checks = request.model_dump(mode="json")["checks"]
    if row["result"] is None or row["status"] == "cancelled":
        return summary(checks_of(row | {"spec": row["spec"] | {"checks": checks}}))
    _refuse_unknown(context, row, checks)
    found = Found(
        result=row["result"],
        arrays=partial(load_arrays, context, fit_id),
        predictions=partial(_predictions, context, row),
    )
    return summary(evaluate(checks, found))


def _refuse_unknown(
    context: Context, row: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]
) -> None:
    spec = row["spec"]
    with context.database.read() as connection:
        columns = dataset_queries.find_columns(connection, row["dataset_id"])
    labels = encode(spec["features"], columns, spec["model"]).labels
    weights = list(load_arrays(context, row["id"], "weights"))
    places = target_places(checks, spec, labels, weights)
    if places:
        raise InvalidInput(places[0].detail, places=places)


def _predictions(context: Context, row: Mapping[str, Any]) -> NDArray[Any]:
    """What the fit says of its own dataset's rows: (n,), or (n, k) of several targets."""
    with passing_prefix(context) as prefix:
        to = f"{prefix}/predictions.arrow"
        arguments = {"fit_id": row["id"], "table": row["storage_key"], "to": to}
        told = run_errand(context, "predict", arguments)
        with context.storage.local(to) as path, StoredTable(path) as table:
            columns = [
                np.concatenate(
                    [block.column(name).to_numpy(zero_copy_only=False) for block in table.blocks()]
                )
                for name in table.names[: told["n_targets"]]
            ]
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
