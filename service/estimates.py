"""What a fit would take, roughly.

The seconds are of steps times work, with constants that were measured on one core of a small
machine: within a factor of five for common fits. A search of LBFGS, an early stop and a
tolerance end when they end: of those the estimate is of all that was asked for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.resolution import n_training_rows, n_updates, steps_an_epoch
from service.schemas.fits import FitRequest, Validation
from service.schemas.models import Mlp
from service.schemas.optimizers import Sgd
from service.suitability import loss_of, n_outputs
from service.tables.encoding import encode
from service.weight_shapes import Shapes, count_parameters, weight_shapes

_DTYPE_BYTES = {"float32": 4, "float64": 8}
_NUMBER_BYTES = 8
# Larger data are read in windows of so many bytes, of which a few are there at a time.
_MOST_BYTES_IN_MEMORY = 2**30
_WINDOW_BYTES = 3 * 128 * 1024**2
_READ_SECONDS_A_BYTE = 4e-9
_HISTORY_COLUMNS = 5
_EPOCH_COLUMNS = 3

# Loading, measuring and recording: of any fit, of each row, of passes over all rows' products,
# and of each entry of a trajectory.
_FIXED_SECONDS = 0.001
_ROW_SECONDS = 5e-8
_PASSES = 3
_KEPT_SECONDS = 2e-5
# What is compiled, and how large a step is left to the plain loop all the same.
COMPILED = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
_MUCH_WORK = 2**26
_FEW_OUTPUTS = 16
# The compiled loops: of a step, of a hidden unit's number, of each parameter's update by a rule
# with state, and of an epoch's shuffle; products cost what they do in the plain loop.
_COMPILED_STEP_SECONDS = 4e-7
_COMPILED_UNIT_SECONDS = 1e-9
_COMPILED_UPDATE_SECONDS = 1e-9
# The closed form: of each parameter's coordinate in a step.
_COORDINATE_SECONDS = 1e-8
# A step on normal equations with its rehearsals, and of that a pair of features.
_REHEARSED_STEP_SECONDS = 2e-6
_PAIR_SECONDS = 1.2e-9
_SHUFFLE_SECONDS = 3e-5
_SHUFFLED_ROW_SECONDS = 1e-8
# The plain loop: of a step, of its optimizer's rule and of each hidden layer, with a batch norm or
# dropout of more; then of a row, of a hidden unit's number and of a product, which is the cheaper
# the wider the layers are; and of each parameter's update.
_STEP_SECONDS = 1.2e-4
_RULE_SECONDS = 5e-5
_LAYER_SECONDS = 8e-5
_EXTRA_SECONDS = 5e-5
_PLAIN_ROW_SECONDS = 8e-9
_UNIT_SECONDS = 5e-9
_NARROW_PRODUCT_SECONDS = 6e-10
_WIDE_PRODUCT_SECONDS = 1e-10
_UPDATE_SECONDS = 7e-9
# A pass without gradients costs about this much of a step.
_EVALUATION_SHARE = 0.3

# The numbers that torch's optimizers keep for each parameter, by kind.
STATE_NUMBERS: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "sgd": lambda given: int(given["momentum"] > 0),
    "adam": lambda given: 2 + given["amsgrad"],
    "adamw": lambda given: 2 + given["amsgrad"],
    "adamax": lambda given: 2,
    "nadam": lambda given: 2,
    "radam": lambda given: 2,
    "rmsprop": lambda given: 1 + (given["momentum"] > 0) + given["centered"],
    "adagrad": lambda given: 1,
    "adadelta": lambda given: 2,
    "asgd": lambda given: 1,
    "rprop": lambda given: 2,
    # Two vectors a remembered iteration, and the direction, the last gradient, a copy of each.
    "lbfgs": lambda given: 2 * given["history_size"] + 4,
}


@dataclass(frozen=True)
class _Sizes:
    """What the estimates follow from; `row_numbers` are features, targets and weight."""

    n_rows: int
    n_held_out: int
    row_numbers: int
    batch_rows: int
    n_steps: int
    n_epochs: int
    n_parameters: int
    n_products: int
    n_outputs: int
    n_hidden: int
    n_units: int

    @property
    def is_streamed(self) -> bool:
        return self.n_rows * self.row_numbers * _NUMBER_BYTES > _MOST_BYTES_IN_MEMORY


def estimate(
    request: FitRequest,
    spec: Mapping[str, Any],
    dataset: Mapping[str, Any],
    n_held_out: int | None,
) -> dict[str, Any]:
    """`n_parameters`, `memory_bytes` beside a worker's own, `seconds` without waiting for one.

    `spec` is the request, resolved; `dataset` its dataset's row, `n_held_out` the rows of another
    dataset that the request validates by.
    """
    sizes = _sizes(request, spec, dataset, n_held_out)
    return {
        "n_parameters": sizes.n_parameters,
        "memory_bytes": sum(_memory_bytes(sizes, request).values()),
        "seconds": min(_seconds(sizes, request), request.limits.max_seconds),
    }


def most_memory_of(
    request: FitRequest,
    spec: Mapping[str, Any],
    dataset: Mapping[str, Any],
    n_held_out: int | None,
) -> str:
    """What most of the estimate's `memory_bytes` is of: dataset, model, batch_size or record.

    Arguments are those of `estimate`.
    """
    parts = _memory_bytes(_sizes(request, spec, dataset, n_held_out), request)
    return max(parts, key=lambda name: parts[name])


def is_compiled(request: FitRequest, spec: Mapping[str, Any], dataset: Mapping[str, Any]) -> bool:
    """Whether the fit, unless it is in closed form, is made by compiled loops."""
    return _is_compiled(request, _sizes(request, spec, dataset, None))


def _sizes(
    request: FitRequest,
    spec: Mapping[str, Any],
    dataset: Mapping[str, Any],
    n_held_out: int | None,
) -> _Sizes:
    n_features = len(encode(spec["features"], dataset["columns"], spec["model"]))
    columns = {column["name"]: column for column in dataset["columns"]}
    outputs = n_outputs(request, columns)
    shapes = weight_shapes(request.model, n_features, outputs)
    n_rows = n_training_rows(dataset["n_rows"], request.validation)
    if isinstance(request.validation, Validation):
        n_held_out = dataset["n_rows"] - n_rows
    n_steps = n_updates(request, n_rows)
    hidden = request.model.hidden if isinstance(request.model, Mlp) else []
    return _Sizes(
        n_rows=n_rows,
        n_held_out=n_held_out or 0,
        row_numbers=n_features + len(request.targets) + (request.sample_weight is not None),
        batch_rows=min(request.batch_size or n_rows, n_rows),
        n_steps=n_steps,
        n_epochs=math.ceil(n_steps / steps_an_epoch(n_rows, request.batch_size, request.drop_last)),
        n_parameters=count_parameters(shapes),
        n_products=_n_products(shapes),
        n_outputs=outputs,
        n_hidden=len(hidden),
        n_units=sum(hidden),
    )


def _n_products(shapes: Shapes) -> int:
    """The multiplications of a row's forward pass."""
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)


def _memory_bytes(sizes: _Sizes, request: FitRequest) -> dict[str, int]:
    """The data, in the fit's dtype beside what was read, and all that is kept in that dtype.

    By the member of the request that each part follows from.
    """
    dtype_bytes = _DTYPE_BYTES[request.dtype]
    rows = (sizes.n_rows + sizes.n_held_out) * sizes.row_numbers * (dtype_bytes + _NUMBER_BYTES)
    record, optimizer = request.record, request.optimizer
    n_kept = math.ceil(sizes.n_steps / record.every)
    history = _HISTORY_COLUMNS * n_kept + _EPOCH_COLUMNS * sizes.n_epochs
    of_parameters = 2 + STATE_NUMBERS[optimizer.kind](optimizer.model_dump())
    trajectory = (record.weights + record.gradients) * n_kept * sizes.n_parameters
    return {
        "dataset": _WINDOW_BYTES if sizes.is_streamed else rows,
        "model": of_parameters * sizes.n_parameters * dtype_bytes,
        "batch_size": 2 * sizes.batch_rows * sizes.n_units * dtype_bytes,
        "record": trajectory * dtype_bytes + history * _NUMBER_BYTES,
    }


def _seconds(sizes: _Sizes, request: FitRequest) -> float:
    if _is_spectral(request, sizes):
        steps = _COMPILED_STEP_SECONDS + _COORDINATE_SECONDS * sizes.n_parameters
        squares = _NARROW_PRODUCT_SECONDS * sizes.n_rows * sizes.row_numbers**2
        return sizes.n_steps * steps + squares + _once(sizes, request)
    if _is_normal(request, sizes):
        width = sizes.row_numbers
        pairs = _PAIR_SECONDS * sizes.n_parameters * width
        squares = _NARROW_PRODUCT_SECONDS * sizes.n_rows * width**2
        return sizes.n_steps * (_REHEARSED_STEP_SECONDS + pairs) + squares + _once(sizes, request)
    seconds = sizes.n_steps * _step_seconds(sizes, request, sizes.batch_rows)
    return seconds + _seconds_an_epoch(sizes, request) * sizes.n_epochs + _once(sizes, request)


def _once(sizes: _Sizes, request: FitRequest) -> float:
    """What comes before the first step and after the last one, and for what is kept between."""
    row = _ROW_SECONDS + _PASSES * _product_seconds(sizes) * sizes.n_products
    kept = request.record.weights + request.record.gradients
    n_kept = sizes.n_steps / request.record.every
    return _FIXED_SECONDS + sizes.n_rows * row + kept * n_kept * _KEPT_SECONDS


def _seconds_an_epoch(sizes: _Sizes, request: FitRequest) -> float:
    """The shuffle, the reading of what memory does not hold, and the held-out rows' loss."""
    seconds = 0.0
    shuffled = request.shuffle and sizes.batch_rows < sizes.n_rows
    if shuffled:
        seconds += _SHUFFLE_SECONDS + _SHUFFLED_ROW_SECONDS * sizes.n_rows
    if sizes.is_streamed:
        n_bytes = sizes.n_rows * sizes.row_numbers * _NUMBER_BYTES
        # A shuffle is written to the disk and read again.
        seconds += _READ_SECONDS_A_BYTE * n_bytes * (1 + 2 * shuffled)
    if sizes.n_held_out:
        seconds += _EVALUATION_SHARE * _step_seconds(sizes, request, sizes.n_held_out)
    return seconds


def _product_seconds(sizes: _Sizes) -> float:
    return _WIDE_PRODUCT_SECONDS if sizes.n_hidden else _NARROW_PRODUCT_SECONDS


def _is_spectral(request: FitRequest, sizes: _Sizes) -> bool:
    """Whether the fit is in closed form: see `workers.engine.planner`."""
    asked = request.strategy in ("auto", "spectral")
    return asked and _is_least_squares(request, sizes) and _is_linear_recurrence(request)


def _is_normal(request: FitRequest, sizes: _Sizes) -> bool:
    """Whether it is on normal equations: see there too."""
    known = _is_least_squares(request, sizes) and request.optimizer.kind != "lbfgs"
    if request.strategy == "auto":
        return known and not _is_linear_recurrence(request)
    return known and request.strategy == "normal"


def _is_least_squares(request: FitRequest, sizes: _Sizes) -> bool:
    """Whether the fit is one of least squares on all rows at every step."""
    known = loss_of(request).kind == "mse" and not isinstance(request.model, Mlp)
    return known and sizes.batch_rows == sizes.n_rows


def _is_linear_recurrence(request: FitRequest) -> bool:
    schedule, optimizer = request.scheduler, request.optimizer
    descends = isinstance(optimizer, Sgd) and not optimizer.maximize and request.penalty.l1 == 0
    return descends and (schedule is None or schedule.kind != "reduce_on_plateau")


def _is_compiled(request: FitRequest, sizes: _Sizes) -> bool:
    """Whether the compiled loops make the fit's steps: see `workers.engine.planner`."""
    schedule, model = request.scheduler, request.model
    foreseen = schedule is None or schedule.kind != "reduce_on_plateau"
    plain = not isinstance(model, Mlp) or not (model.dropout or model.batch_norm)
    covered = foreseen and plain and request.optimizer.kind in COMPILED
    if not covered or sizes.is_streamed or request.strategy not in ("auto", "kernels"):
        return False
    products = sizes.batch_rows * sizes.n_products
    large = products > _MUCH_WORK and (sizes.n_hidden > 0 or sizes.n_outputs > _FEW_OUTPUTS)
    return request.strategy == "kernels" or not large


def _step_seconds(sizes: _Sizes, request: FitRequest, n_rows: int) -> float:
    compiled = _is_compiled(request, sizes)
    return (_compiled_step_seconds if compiled else _plain_step_seconds)(sizes, request, n_rows)


def _compiled_step_seconds(sizes: _Sizes, request: FitRequest, n_rows: int) -> float:
    row = _product_seconds(sizes) * sizes.n_products + _COMPILED_UNIT_SECONDS * sizes.n_units
    rule = 0.0 if request.optimizer.kind == "sgd" else _COMPILED_UPDATE_SECONDS
    return _COMPILED_STEP_SECONDS + row * n_rows + rule * sizes.n_parameters


def _plain_step_seconds(sizes: _Sizes, request: FitRequest, n_rows: int) -> float:
    model, optimizer = request.model, request.optimizer
    products = _product_seconds(sizes) * sizes.n_products
    row = _PLAIN_ROW_SECONDS + _UNIT_SECONDS * sizes.n_units + products
    layer = _LAYER_SECONDS
    if isinstance(model, Mlp):
        layer += _EXTRA_SECONDS * (model.batch_norm + (model.dropout > 0))
    rule = 0.0 if optimizer.kind == "sgd" else _RULE_SECONDS
    update = _UPDATE_SECONDS * sizes.n_parameters
    step = _STEP_SECONDS + rule + layer * sizes.n_hidden + row * n_rows + update
    return step * optimizer.max_iter if optimizer.kind == "lbfgs" else step
