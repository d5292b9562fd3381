"""What a fit would take, roughly.

The seconds are of steps times work, with constants that were measured on one core of a small
machine: within a factor of five for common fits. A search of LBFGS, an early stop and a
tolerance end when they end: of those the estimate is of all that was asked for.
"""

from collections.abc import Mapping
from typing import Any

from service.fit_sizes import Sizes, is_compiled, is_normal, is_spectral, sizes_of
from service.memory_estimates import memory_bytes
from service.schemas.fits import FitRequest
from service.schemas.models import Mlp

_NUMBER_BYTES = 8
_READ_SECONDS_A_BYTE = 4e-9

# Loading, measuring and recording: of any fit, of each row, of passes over all rows' products,
# and of each entry of a trajectory.
_FIXED_SECONDS = 0.001
_ROW_SECONDS = 5e-8
_PASSES = 3
_KEPT_SECONDS = 2e-5
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
    sizes = sizes_of(request, spec, dataset, n_held_out)
    return {
        "n_parameters": sizes.n_parameters,
        "memory_bytes": sum(memory_bytes(sizes, request).values()),
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
    parts = memory_bytes(sizes_of(request, spec, dataset, n_held_out), request)
    return max(parts, key=lambda name: parts[name])


def _seconds(sizes: Sizes, request: FitRequest) -> float:
    if is_spectral(request, sizes):
        steps = _COMPILED_STEP_SECONDS + _COORDINATE_SECONDS * sizes.n_parameters
        squares = _NARROW_PRODUCT_SECONDS * sizes.n_rows * sizes.row_numbers**2
        return sizes.n_steps * steps + squares + _once(sizes, request)
    if is_normal(request, sizes):
        width = sizes.row_numbers
        pairs = _PAIR_SECONDS * sizes.n_parameters * width
        squares = _NARROW_PRODUCT_SECONDS * sizes.n_rows * width**2
        return sizes.n_steps * (_REHEARSED_STEP_SECONDS + pairs) + squares + _once(sizes, request)
    seconds = sizes.n_steps * _step_seconds(sizes, request, sizes.batch_rows)
    return seconds + _seconds_an_epoch(sizes, request) * sizes.n_epochs + _once(sizes, request)


def _once(sizes: Sizes, request: FitRequest) -> float:
    """What comes before the first step and after the last one, and for what is kept between."""
    row = _ROW_SECONDS + _PASSES * _product_seconds(sizes) * sizes.n_products
    kept = request.record.weights + request.record.gradients
    n_kept = sizes.n_steps / request.record.every
    return _FIXED_SECONDS + sizes.n_rows * row + kept * n_kept * _KEPT_SECONDS


def _seconds_an_epoch(sizes: Sizes, request: FitRequest) -> float:
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


def _product_seconds(sizes: Sizes) -> float:
    return _WIDE_PRODUCT_SECONDS if sizes.n_hidden else _NARROW_PRODUCT_SECONDS


def _step_seconds(sizes: Sizes, request: FitRequest, n_rows: int) -> float:
    compiled = is_compiled(request, sizes)
    return (_compiled_step_seconds if compiled else _plain_step_seconds)(sizes, request, n_rows)


def _compiled_step_seconds(sizes: Sizes, request: FitRequest, n_rows: int) -> float:
    row = _product_seconds(sizes) * sizes.n_products + _COMPILED_UNIT_SECONDS * sizes.n_units
    rule = 0.0 if request.optimizer.kind == "sgd" else _COMPILED_UPDATE_SECONDS
    return _COMPILED_STEP_SECONDS + row * n_rows + rule * sizes.n_parameters


def _plain_step_seconds(sizes: Sizes, request: FitRequest, n_rows: int) -> float:
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
