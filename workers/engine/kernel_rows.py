"""Training rows as compiled loops take them: in tiles, a column a feature."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import compiled, inlined, internal
from workers.engine.kernel_layers import Plan, vectors_of
from workers.engine.kernel_losses import Loss
from workers.engine.kernel_products import Numbers, transpose
from workers.engine.kernel_vectors import copy_vector, fetch_line, vector_length


class Rows(NamedTuple):
    """The rows, and where the tiles' numbers lie in the flat array.

    x (n·d,), y (n·k,), weight (n,), or (0,) where all count alike; order (n,): the rows as the
    epoch visits them, read where that is not `in_order`. The features of some rows that are visited
    one after the other lie at `rows_at`, `row_step` apart: those from window[0] to window[1] of
    the order. Where tiles are `resident`, all have been laid one after the other; else there is
    room for one. Where it `fetches`, memory is asked for rows before they are needed.
    """

    x: Numbers
    y: Numbers
    weight: Numbers
    order: NDArray[np.int64]
    in_order: bool
    n_rows: int
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
    fetches: bool


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


@inlined
def _row(rows: Rows, i: int) -> int:
    """The row that the order has in this place."""
    return i if rows.in_order else int(rows.order[i])


@compiled
def lay_all(rows: Rows, plan: Plan, numbers: Numbers) -> None:
    """Lay all rows, in order, into their tiles."""
    n_rows = rows.n_rows
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
            numbers[targets_at + i] = rows.y[_row(rows, first + i) * rows.n_targets + t]
    # Else the weights are 1, and stay so.
    for i in range(n if len(rows.weight) else 0):
        numbers[place.weights_at + i] = rows.weight[_row(rows, first + i)]
    if rows.fetches and not rows.in_order:
        _fetch_ahead(rows, numbers, part)
    columns, size = (place.columns_at, plan.step), (vectors_of(numbers, n), rows.row_step)
    if rows.in_order and not part.downhill and _has_room(rows, first + size[0]):
        source = (first * rows.n_features, rows.n_features)
        transpose(numbers, columns, rows.x, source, size)
        return
    if first < rows.window[0] or stop > rows.window[1]:
        _take(rows, numbers, first)
    transpose(numbers, columns, numbers, (features_at(rows, first), rows.row_step), size)


@inlined
def _fetch_ahead(rows: Rows, numbers: Numbers, part: Part) -> None:
    """Ask memory for the rows that are a window further on, while this one's are computed with."""
    stop = min(part.stop + rows.window_rows, rows.n_rows)
    for i in range(part.first + rows.window_rows, stop):
        at = rows.order[i] * rows.n_features
        for j in range(0, rows.n_features, vector_length(numbers)):
            fetch_line(rows.x, at + j)
        fetch_line(rows.x, at + rows.n_features - 1)
        fetch_line(rows.y, rows.order[i] * rows.n_targets)


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
    stop = min(first + rows.window_rows, rows.n_rows)
    to_at = rows.rows_at
    for i in range(first, stop):
        row = _row(rows, i)
        from_at = row * n_features
        if _has_room(rows, row + 1):
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
        row = _row(rows, i)
        weight = np.float64(rows.weight[row]) if len(rows.weight) else 1.0
        if loss.counts:
            weight *= loss.class_weight[int(rows.y[row])]
        summed += weight
    return 1.0 if summed == 0.0 and len(rows.weight) else summed
