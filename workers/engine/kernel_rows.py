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
    epoch visits them. Where `resident`, all tiles have been laid, one after the other; else there
    is room for one. Beside a tile's columns stand its rows, targets and weights.
    """

    x: Numbers
    y: Numbers
    weight: Numbers
    order: NDArray[np.int64]
    n_features: int
    n_targets: int
    columns_at: int
    rows_at: int
    targets_at: int
    weights_at: int
    resident: bool


class Laid(NamedTuple):
    """Where one tile's numbers lie."""

    columns_at: int
    rows_at: int
    targets_at: int
    weights_at: int


@inlined
def laid(rows: Rows, plan: Plan, tile: int) -> Laid:
    """Where the tile lies."""
    place = tile if rows.resident else 0
    d, k, step = rows.n_features, rows.n_targets, plan.step
    return Laid(
        rows.columns_at + place * d * step,
        rows.rows_at + place * d * step,
        rows.targets_at + place * k * step,
        rows.weights_at + place * step,
    )


@compiled
def lay_all(rows: Rows, plan: Plan, numbers: Numbers) -> None:
    """Lay all rows, in order, into their tiles."""
    n_rows = len(rows.order)
    for first in range(0, n_rows, plan.step):
        place = laid(rows, plan, first // plan.step)
        lay_tile(rows, plan, numbers, place, (first, min(plan.step, n_rows - first)))


@internal
def lay_tile(
    rows: Rows, plan: Plan, numbers: Numbers, place: Laid, bounds: tuple[int, int]
) -> None:
    """Lay (first, how many) rows of the order into a tile."""
    first, n = bounds
    n_features, n_targets = rows.n_features, rows.n_targets
    length = vector_length(numbers)
    rounded = vectors_of(numbers, n_features)
    # From here on there is no room for the rest of a vector behind a row.
    end = len(rows.x) - rounded
    to_at, last = place.rows_at, len(rows.order) - 1
    for i in range(first, first + n):
        from_at = rows.order[i] * n_features
        # The next tile's row is far away, but there in time.
        next_at = rows.order[min(i + n, last)] * n_features
        fetch_line(rows.x, next_at + n_features - 1)
        j = 0
        while j < n_features:
            fetch_line(rows.x, next_at + j)
            if from_at <= end:
                copy_vector(numbers, to_at + j, rows.x, from_at + j)
            else:
                for k in range(j, n_features):
                    numbers[to_at + k] = rows.x[from_at + k]
            j += length
        to_at += n_features
    for t in range(n_targets):
        targets_at = place.targets_at + t * plan.step
        for i in range(n):
            numbers[targets_at + i] = rows.y[rows.order[first + i] * n_targets + t]
    # Else the weights are 1, and stay so.
    for i in range(n if len(rows.weight) else 0):
        numbers[place.weights_at + i] = rows.weight[rows.order[first + i]]
    source, size = (place.rows_at, n_features), (vectors_of(numbers, n), rounded)
    transpose(numbers, (place.columns_at, plan.step), source, size)


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
