"""Training rows as compiled loops take them: in tiles, a column a feature."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import compiled, inlined, internal
from workers.engine.kernel_layers import Plan, vectors_of
from workers.engine.kernel_losses import Loss
from workers.engine.kernel_products import Numbers, transpose
from workers.engine.kernel_vectors import copy_vector, vector_length


class Rows(NamedTuple):
    """The rows, and where the tiles' numbers lie in the flat array.

    x (n·d,), y (n·k,), weight (n,), or (0,) where all count alike; order (n,): the rows as the
    epoch visits them, `in_order` where that is 0, 1, …. The features of some rows that are visited
    one after the other lie at `rows_at`, `row_step` apart: those from window[0] to window[1] of
    the order. Where tiles are `resident`, all have been laid one after the other; else there is
    room for one.
    """

    x: Numbers
    y: Numbers
    weight: Numbers
    order: NDArray[np.int64]
    in_order: bool
    window: NDArray[np.int64]
    window_rows: int
    row_step: int
    n_features: int
    n_targets: int
    columns_at: int
    rows_at: int
    targets_at: int
    weights_at: int
    resident: bool


class Part(NamedTuple):
    """Rows [first, stop) of the order; `downhill` where their gradient is wanted too."""

    first: int
    stop: int
    downhill: bool


class Laid(NamedTuple):
    """Where one tile's numbers lie."""

    columns_at: int
    targets_at: int
    weights_at: int


@inlined
def laid(rows: Rows, plan: Plan, tile: int) -> Laid:
    """Where the tile lies."""
    first = tile * plan.step if rows.resident else 0
    return Laid(
        rows.columns_at + first * rows.n_features,
        rows.targets_at + first * rows.n_targets,
        rows.weights_at + first,
    )


@inlined
def features_at(rows: Rows, first: int) -> int:
    """Where the features of the order's row lie, which must be in the window."""
    return rows.rows_at + (first - int(rows.window[0])) * rows.row_step


@compiled
def lay_all(rows: Rows, plan: Plan, numbers: Numbers) -> None:
    """Lay all rows, in order, into their tiles."""
    n_rows = len(rows.order)
    for first in range(0, n_rows, plan.step):
        place = laid(rows, plan, first // plan.step)
        part = Part(first, min(first + plan.step, n_rows), downhill=n_rows > 0)
        lay_tile(rows, plan, numbers, place, part)


@inlined
def lay_tile(rows: Rows, plan: Plan, numbers: Numbers, place: Laid, part: Part) -> None:
    """Lay the part into a tile; where it goes downhill, its features lie in the window then."""
    first, stop = part.first, part.stop
    n = stop - first
    for t in range(rows.n_targets):
        targets_at = place.targets_at + t * plan.step
        for i in range(n):
            numbers[targets_at + i] = rows.y[rows.order[first + i] * rows.n_targets + t]
    # Else the weights are 1, and stay so.
    for i in range(n if len(rows.weight) else 0):
        numbers[place.weights_at + i] = rows.weight[rows.order[first + i]]
    columns, size = (place.columns_at, plan.step), (vectors_of(numbers, n), rows.row_step)
    if rows.in_order and not part.downhill and _has_room(rows, first + size[0]):
        source = (first * rows.n_features, rows.n_features)
        transpose(numbers, columns, rows.x, source, size)
        return
    if first < rows.window[0] or stop > rows.window[1]:
        _take(rows, numbers, first)
    transpose(numbers, columns, numbers, (features_at(rows, first), rows.row_step), size)


@inlined
def _has_room(rows: Rows, stop: int) -> bool:
    """Whether a row's last vector may be read past its end, of any row before `stop`."""
    return (stop - 1) * rows.n_features + rows.row_step <= len(rows.x)


@internal
def _take(rows: Rows, numbers: Numbers, first: int) -> None:
    """Have the window begin at the order's row.

    Many rows are taken at once, for then the CPU looks for all of them in memory side by side.
    """
    n_features, length = rows.n_features, vector_length(numbers)
    stop = min(first + rows.window_rows, len(rows.order))
    to_at = rows.rows_at
    for i in range(first, stop):
        from_at = rows.order[i] * n_features
        if _has_room(rows, rows.order[i] + 1):
            j = 0
            while j < n_features:
                copy_vector(numbers, to_at + j, rows.x, from_at + j)
                j += length
        else:
            for j in range(n_features):
                numbers[to_at + j] = rows.x[from_at + j]
        to_at += rows.row_step
    rows.window[0], rows.window[1] = first, stop


@inlined
def total_weight(rows: Rows, loss: Loss, first: int, stop: int) -> float:
    """What [first, stop) of the order count together; 1 where given weights are all 0."""
    if not len(rows.weight) and not loss.counts:
        return float(stop - first)
    summed = 0.0
    for i in range(first, stop):
        row = rows.order[i]
        weight = np.float64(rows.weight[row]) if len(rows.weight) else 1.0
        if loss.counts:
            weight *= loss.class_weight[int(rows.y[row])]
        summed += weight
    return 1.0 if summed == 0.0 and len(rows.weight) else summed
