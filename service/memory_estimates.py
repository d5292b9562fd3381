"""The memory that a fit would take of a worker's process, roughly.

As measured of workers for some fits of very different kinds: too low by no more than the code that
a process loads for its first fit of a kind, nor more than three times too high.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from service.fit_sizes import Sizes, is_compiled, is_large, is_normal, is_spectral
from service.schemas.fits import FitRequest, Validation
from service.schemas.models import Mlp

_DTYPE_BYTES = {"float32": 4, "float64": 8}
_NUMBER_BYTES = 8
# Larger data are read in windows of so many bytes, of which a few are there at a time.
_WINDOW_BYTES = 128 * 1024**2
_WINDOWS = 3
# A table that is read is there in blocks, and as one block, beside the matrix that is made of it.
_TABLE_COPIES = 2
# Rows that are standardized come beside those that they were, and what one takes to make them.
_STANDARDIZED_COPIES = 1.5

# Of each parameter: what it is, was at first and was before the step, its gradient, all of them in
# a row, and copies of most for what is kept in the end; then of each number beside it three.
_PLAIN_COPIES = 14
_FUSED_COPIES = 9
_STATE_COPIES = 3

# Of each row of a batch: the gradients of a layer's numbers on their way back, and what a loss
# makes of the last layer's.
_BACKWARD_COPIES = 4
_OUTPUT_COPIES = 5
# The activations whose slopes need what went into them, too.
_WITH_INPUTS = ("gelu", "silu", "leaky_relu")
# A dropout's mask is of bytes, and drawn from as many numbers as it multiplies, which come and go.
_MASK_SHARE = 0.25
_DRAWN_COPIES = 5
# What was freed and lies between what is in use is not at once given back.
_HEAP_SHARE = 2
# How many rows are computed at once: in tiles of a cache, and where large batches come in parts.
_TILE_ROWS = 512
_PART_NUMBERS = 2**20
_LEAST_PART_ROWS = 2**9
_SPLIT_PARTS = 4

# Numbers of each recorded step, of each step and of each epoch: those of the history, the same in
# the order of an artifact, and as its bytes.
_RECORDED_NUMBERS = 13
_STEP_NUMBERS = 3
_EPOCH_NUMBERS = 10
# A trajectory is there step by step, as one array, and as its bytes.
_TRAJECTORY_COPIES = 3

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


def memory_bytes(sizes: Sizes, request: FitRequest) -> dict[str, int]:
    """The bytes at the most, by the member of the request that each part follows from."""
    record, n_kept = request.record, math.ceil(sizes.n_steps / request.record.every)
    item_bytes = _DTYPE_BYTES[request.dtype]
    history = (
        _RECORDED_NUMBERS * n_kept + _STEP_NUMBERS * sizes.n_steps + _EPOCH_NUMBERS * sizes.n_epochs
    )
    seen = (record.weights + record.gradients) * n_kept * sizes.n_parameters
    return {
        "dataset": _WINDOWS * _WINDOW_BYTES if sizes.is_streamed else _row_bytes(sizes, request),
        "model": _parameter_copies(sizes, request) * sizes.n_parameters * item_bytes,
        "batch_size": _batch_bytes(sizes, request),
        "record": _TRAJECTORY_COPIES * seen * item_bytes + history * _NUMBER_BYTES,
    }


def _row_bytes(sizes: Sizes, request: FitRequest) -> int:
    """Of rows in memory: as they are read, as a matrix, and as the steps take them."""
    n_rows = sizes.n_rows + sizes.n_held_out
    table = _TABLE_COPIES * _NUMBER_BYTES * sizes.read_numbers
    split = isinstance(request.validation, Validation)
    copies = 1 + split + _STANDARDIZED_COPIES * request.standardize
    matrix = copies * _NUMBER_BYTES * sizes.row_numbers
    if not is_spectral(request, sizes) and not is_normal(request, sizes):
        matrix += _DTYPE_BYTES[request.dtype] * sizes.row_numbers
    shuffled = request.shuffle and sizes.batch_rows < sizes.n_rows
    return math.ceil(n_rows * (table + matrix + 2 * _NUMBER_BYTES * shuffled))


def _parameter_copies(sizes: Sizes, request: FitRequest) -> int:
    optimizer = request.optimizer
    fused = is_compiled(request, sizes) or is_large(request, sizes)
    state = STATE_NUMBERS[optimizer.kind](optimizer.model_dump())
    return (_FUSED_COPIES if fused else _PLAIN_COPIES) + _STATE_COPIES * state


def _batch_bytes(sizes: Sizes, request: FitRequest) -> int:
    """Of what is made of rows: in a step, or where all rows pass through without one."""
    item_bytes, outputs = _DTYPE_BYTES[request.dtype], _OUTPUT_COPIES * sizes.n_outputs
    if is_spectral(request, sizes) or is_normal(request, sizes):
        return 0
    most_rows = _rows_at_once(sizes, request)
    step = min(sizes.batch_rows, most_rows) * (outputs + _numbers_of_a_row(sizes, request))
    rows = min(max(sizes.n_rows, sizes.n_held_out), most_rows)
    passed = rows * (outputs + _BACKWARD_COPIES * sizes.most_units)
    return math.ceil(_HEAP_SHARE * max(step, passed) * item_bytes)


def _rows_at_once(sizes: Sizes, request: FitRequest) -> int:
    """The most rows of which there is anything at one time: see `workers.engine.large`."""
    model = request.model
    if is_compiled(request, sizes):
        return _TILE_ROWS
    if sizes.is_streamed:
        return max(1, _WINDOW_BYTES // (_NUMBER_BYTES * sizes.row_numbers))
    drawn = isinstance(model, Mlp) and (model.dropout > 0 or model.batch_norm)
    if not is_large(request, sizes) or drawn:
        return sizes.n_rows + sizes.n_held_out
    part = max(_LEAST_PART_ROWS, _PART_NUMBERS // (sizes.row_numbers + sizes.n_units))
    return part if sizes.batch_rows >= _SPLIT_PARTS * part else sizes.batch_rows


def _numbers_of_a_row(sizes: Sizes, request: FitRequest) -> float:
    """What a step keeps of a row until its gradient is made: hidden layers' numbers.

    As autograd keeps them: the activations, and what slopes, batch norms and dropouts need.
    """
    model = request.model
    if not isinstance(model, Mlp):
        return 0.0
    kept, passing = 1.0, _BACKWARD_COPIES
    kept += model.activation in _WITH_INPUTS
    if model.batch_norm:
        kept += 1 + is_large(request, sizes)
    if model.dropout:
        kept += 1 + _MASK_SHARE
        passing += _DRAWN_COPIES
    return kept * sizes.n_units + passing * sizes.most_units
