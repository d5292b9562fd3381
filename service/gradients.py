"""The gradient of a loss at given weights, beside a central-difference check."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from service.context import Context
from service.errands import run_errand
from service.errors import InvalidInput, Place
from service.passing_tables import passing_dataset
from service.pointers import pointer
from service.resolution import resolve
from service.schemas.fits import FitRequest
from service.schemas.inits import GivenInit
from service.schemas.rows import GradientRequest
from service.suitability import n_outputs
from service.tables.encoding import encode
from service.tables.places import MOST_PLACES
from service.weight_shapes import count_parameters, weight_shapes

_MOST_PARAMETERS = 10_000
# Each parameter costs two losses. What a loss costs was measured on one core: so much, and so
# much for each row, and for each row's each parameter.
_LOSS_SECONDS = 1e-4
_ROW_SECONDS = 1e-8
_PRODUCT_SECONDS = 3e-10
_MOST_SECONDS = 10.0
# As float64; a loss takes some times as much.
_MOST_BYTES = 2**28
_NUMBER_BYTES = 8
_INIT = "/init/weights"


def check_gradients(context: Context, request: GradientRequest, owner: str) -> dict[str, Any]:
    """The loss and its gradient, by autograd and by differences; raises InvalidInput."""
    with passing_dataset(context, request.dataset, owner, "dataset") as table:
        _refuse_rows(request.rows, table.n_rows)
        n_rows = len(request.rows) if request.rows else table.n_rows
        spec = _resolved(context, request, {**table.row, "n_rows": n_rows})
        _refuse_work(spec, request, table.columns, n_rows)
        arguments = {
            "spec": spec,
            "columns": table.columns,
            "table": table.storage_key,
            "n_rows": table.n_rows,
            "rows": request.rows,
        }
        return run_errand(context, "gradients", arguments)


def _resolved(
    context: Context, request: GradientRequest, dataset: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return resolve(_as_fit(request), dataset, context.settings)
    except InvalidInput as error:
        places = [_moved(place, request) for place in error.places]
        raise InvalidInput(error.detail, places=places) from None


def _as_fit(request: GradientRequest) -> FitRequest:
    """The fit of one step from the weights."""
    return FitRequest(
        dataset="",
        features=request.features,
        target=request.target,
        sample_weight=request.sample_weight,
        model=request.model,
        loss=request.loss,
        penalty=request.penalty,
        init=GivenInit(weights=request.weights),
        dtype="float64",
        steps=1,
    )


def _moved(place: Place, request: GradientRequest) -> Place:
    """A fit's initial weights are the request's weights, and its batch is all of the rows."""
    where = place.pointer or ""
    if where.startswith(_INIT):
        return replace(place, pointer="/weights" + where.removeprefix(_INIT))
    return replace(place, pointer=_rows_pointer(request)) if where == "/batch_size" else place


def _rows_pointer(request: GradientRequest) -> str:
    return "/dataset" if request.rows is None else "/rows"


def _refuse_rows(rows: Sequence[int] | None, n_rows: int) -> None:
    beyond = ((i, row) for i, row in enumerate(rows or ()) if row >= n_rows)
    places = [
        Place("no_such_row", f"there is no row {row}: the dataset has {n_rows}", pointer("rows", i))
        for i, row in islice(beyond, MOST_PLACES)
    ]
    if places:
        raise InvalidInput(places[0].detail, places=places)


def _refuse_work(
    spec: Mapping[str, Any],
    request: GradientRequest,
    columns: Sequence[Mapping[str, Any]],
    n_rows: int,
) -> None:
    n_features = len(encode(spec["features"], columns, spec["model"]))
    n_parameters = _n_parameters(request, n_features, columns)
    if n_parameters > _MOST_PARAMETERS:
        detail = f"{n_parameters} parameters are too many to vary one by one ({_MOST_PARAMETERS})"
        raise InvalidInput(detail, places=[Place("too_many_parameters", detail, "/model")])
    row_seconds = _ROW_SECONDS + _PRODUCT_SECONDS * n_parameters
    seconds = 2 * n_parameters * (_LOSS_SECONDS + row_seconds * n_rows)
    if seconds > _MOST_SECONDS or n_rows * n_features * _NUMBER_BYTES > _MOST_BYTES:
        detail = f"{n_rows} rows are too many for {n_parameters} parameters; name fewer in rows"
        place = Place("too_many_rows", detail, _rows_pointer(request))
        raise InvalidInput(detail, places=[place])


def _n_parameters(
    request: GradientRequest, n_features: int, columns: Sequence[Mapping[str, Any]]
) -> int:
    by_name = {column["name"]: column for column in columns}
    shapes = weight_shapes(request.model, n_features, n_outputs(_as_fit(request), by_name))
    return count_parameters(shapes)
