"""The gradient of a loss at given weights, beside a central-difference check."""

from collections.abc import Mapping, Sequence
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
from service.weight_shapes import count_parameters, weight_shapes

# Each parameter costs two losses, and a loss about as much as rows times parameters.
_MOST_PARAMETERS = 10_000
_MOST_WORK = 5_000_000_000
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
    """The spec of one step from the weights."""
    fit = FitRequest(
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
    try:
        return resolve(fit, dataset, context.settings)
    except InvalidInput as error:
        raise InvalidInput(error.detail, places=[*map(_moved, error.places)]) from None


def _moved(place: Place) -> Place:
    """A fit's initial weights are the request's weights."""
    where = place.pointer or ""
    if not where.startswith(_INIT):
        return place
    return Place(place.code, place.detail, "/weights" + where.removeprefix(_INIT))


def _refuse_rows(rows: Sequence[int] | None, n_rows: int) -> None:
    places = [
        Place("no_such_row", f"there is no row {row}: the dataset has {n_rows}", pointer("rows", i))
        for i, row in enumerate(rows or ())
        if row >= n_rows
    ]
    if places:
        raise InvalidInput(places[0].detail, places=places[:20])


def _refuse_work(
    spec: Mapping[str, Any],
    request: GradientRequest,
    columns: Sequence[Mapping[str, Any]],
    n_rows: int,
) -> None:
    n_features = len(encode(spec["features"], columns, spec["model"]))
    fit = FitRequest(dataset="", target=request.target, model=request.model, loss=request.loss,
                     steps=1)  # fmt: skip
    by_name = {column["name"]: column for column in columns}
    shapes = weight_shapes(request.model, n_features, n_outputs(fit, by_name))
    n_parameters = count_parameters(shapes)
    if n_parameters > _MOST_PARAMETERS:
        detail = f"{n_parameters} parameters are too many to vary one by one ({_MOST_PARAMETERS})"
        raise InvalidInput(detail, places=[Place("too_many_parameters", detail, "/model")])
    if n_parameters**2 * n_rows > _MOST_WORK:
        detail = f"{n_rows} rows are too many for {n_parameters} parameters; name some by rows"
        raise InvalidInput(detail, places=[Place("too_many_rows", detail, "/rows")])
