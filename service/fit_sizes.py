"""What a fit is to the estimates: its sizes, and how its steps are made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.resolution import n_training_rows, n_updates, steps_an_epoch
from service.schemas.fits import FitRequest, Validation
from service.schemas.models import Mlp
from service.schemas.optimizers import Sgd
from service.suitability import loss_of, n_outputs
from service.tables.encoding import encode
from service.weight_shapes import Shapes, count_parameters, weight_shapes

# Larger data are read in windows.
_MOST_BYTES_IN_MEMORY = 2**30
_NUMBER_BYTES = 8
# What is compiled, and how large a step is left to torch all the same.
COMPILED = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
_MUCH_WORK = 2**26
_FEW_OUTPUTS = 16


@dataclass(frozen=True)
class Sizes:
    """What the estimates follow from; `row_numbers` are features, targets and weight.

    A table's row has `read_numbers` of them before its features are encoded.
    """

    n_rows: int
    n_held_out: int
    row_numbers: int
    read_numbers: int
    batch_rows: int
    n_steps: int
    n_epochs: int
    n_parameters: int
    n_products: int
    n_outputs: int
    n_hidden: int
    n_units: int
    most_units: int

    @property
    def is_streamed(self) -> bool:
        return self.n_rows * self.row_numbers * _NUMBER_BYTES > _MOST_BYTES_IN_MEMORY


def sizes_of(
    request: FitRequest,
    spec: Mapping[str, Any],
    dataset: Mapping[str, Any],
    n_held_out: int | None,
) -> Sizes:
    """Of a request, resolved to `spec`, for a dataset's row: see `service.estimates.estimate`."""
    n_features = len(encode(spec["features"], dataset["columns"], spec["model"]))
    columns = {column["name"]: column for column in dataset["columns"]}
    outputs = n_outputs(request, columns)
    shapes = weight_shapes(request.model, n_features, outputs)
    n_rows = n_training_rows(dataset["n_rows"], request.validation)
    if isinstance(request.validation, Validation):
        n_held_out = dataset["n_rows"] - n_rows
    n_steps = n_updates(request, n_rows)
    beside = len(request.targets) + (request.sample_weight is not None)
    hidden = request.model.hidden if isinstance(request.model, Mlp) else []
    return Sizes(
        n_rows=n_rows,
        n_held_out=n_held_out or 0,
        row_numbers=n_features + beside,
        read_numbers=len(spec["features"]) + beside,
        batch_rows=min(request.batch_size or n_rows, n_rows),
        n_steps=n_steps,
        n_epochs=math.ceil(n_steps / steps_an_epoch(n_rows, request.batch_size, request.drop_last)),
        n_parameters=count_parameters(shapes),
        n_products=_n_products(shapes),
        n_outputs=outputs,
        n_hidden=len(hidden),
        n_units=sum(hidden),
        most_units=max(hidden, default=0),
    )


def _n_products(shapes: Shapes) -> int:
    """The multiplications of a row's forward pass."""
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)


def is_spectral(request: FitRequest, sizes: Sizes) -> bool:
    """Whether the fit is in closed form: see `workers.engine.planner`."""
    asked = request.strategy in ("auto", "spectral")
    return asked and _is_least_squares(request, sizes) and _is_linear_recurrence(request)


def is_normal(request: FitRequest, sizes: Sizes) -> bool:
    """Whether it is on normal equations: see there too."""
    known = _is_least_squares(request, sizes) and request.optimizer.kind != "lbfgs"
    if request.strategy == "auto":
        return known and not _is_linear_recurrence(request)
    return known and request.strategy == "normal"


def _is_least_squares(request: FitRequest, sizes: Sizes) -> bool:
    """Whether the fit is one of least squares on all rows at every step."""
    known = loss_of(request).kind == "mse" and not isinstance(request.model, Mlp)
    return known and sizes.batch_rows == sizes.n_rows


def _is_linear_recurrence(request: FitRequest) -> bool:
    schedule, optimizer = request.scheduler, request.optimizer
    descends = isinstance(optimizer, Sgd) and not optimizer.maximize and request.penalty.l1 == 0
    return descends and (schedule is None or schedule.kind != "reduce_on_plateau")


def is_compiled(request: FitRequest, sizes: Sizes) -> bool:
    """Whether the compiled loops make the fit's steps: see `workers.engine.planner`."""
    schedule, model = request.scheduler, request.model
    foreseen = schedule is None or schedule.kind != "reduce_on_plateau"
    plain = not isinstance(model, Mlp) or not (model.dropout or model.batch_norm)
    covered = foreseen and plain and request.optimizer.kind in COMPILED
    if not covered or sizes.is_streamed or request.strategy not in ("auto", "kernels"):
        return False
    return request.strategy == "kernels" or not _is_matrix_product(sizes)


def is_large(request: FitRequest, sizes: Sizes) -> bool:
    """Whether torch makes them, large batches in parts: see there too."""
    if sizes.is_streamed or request.optimizer.kind == "lbfgs":
        return False
    return request.strategy == "large" or (request.strategy == "auto" and _is_matrix_product(sizes))


def _is_matrix_product(sizes: Sizes) -> bool:
    products = sizes.batch_rows * sizes.n_products
    return products > _MUCH_WORK and (sizes.n_hidden > 0 or sizes.n_outputs > _FEW_OUTPUTS)
