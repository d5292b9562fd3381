"""Compiled loops for linear least squares by gradient descent.

Rows lie in tiles, a column a feature: (features, rows of the tile). Predictions are then sums of
whole columns and gradients dot products of columns, which a CPU computes several rows at a time.
Everything is computed in float64; a float32 fit is one whose data are rounded to float32 and
whose numbers must stay in float32's range, and so is nearer to the float64 plain loop than the
float32 plain loop is.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import compiled, inlined

Floats = NDArray[np.float64]


class Rows(NamedTuple):
    """The training rows.

    x (n, d), y (n, k); order (n,) int64: the rows as the epoch visits them. tiles_x (q, d, m) and
    tiles_y (q, k, m) hold all rows, in m a tile, where `resident`; else the first is scratch room.
    weight (n,) and tiles_weight (q, m) are read where `weighted`.
    """

    x: Floats
    y: Floats
    weight: Floats
    order: NDArray[np.int64]
    tiles_x: Floats
    tiles_y: Floats
    tiles_weight: Floats
    resident: bool
    weighted: bool


class State(NamedTuple):
    """What a step changes, and its scratch room.

    parameters (p,): weight (k, d) row by row, then bias (k,) where `has_bias`; velocity (p,) the
    momentum buffer, which holds something before step 0 already where `moving`. gradient (p,),
    candidate (p,) and residual (m,) are written by every step.
    """

    parameters: Floats
    velocity: Floats
    gradient: Floats
    candidate: Floats
    residual: Floats
    has_bias: bool
    moving: bool


class Rule(NamedTuple):
    """The arguments of torch.optim.SGD, and the largest finite number of the fit's dtype."""

    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool
    largest: float


class Record(NamedTuple):
    """Where the history goes: the arrays of `workers.engine.trace.Trace`."""

    loss: Floats
    grad_norm: Floats
    epoch_sums: Floats
    every: int


class Span(NamedTuple):
    """The steps to make, [first, stop), of `per_epoch` batches of `size` rows an epoch.

    Step 0 is the batch of this `position`, counted from the beginning of its epoch.
    """

    first: int
    stop: int
    position: int
    size: int
    per_epoch: int


class Outcome(NamedTuple):
    """How far `descend` came: updates done, losses entered since step 0, the last one."""

    n_steps: int
    n_losses: int
    last_loss: float


@compiled
def descend(rows: Rows, state: State, rule: Rule, record: Record, span: Span) -> Outcome:
    """Make the span's updates, or fewer: ended by the first number that is not finite.

    The velocity and parameters in `state` are all that goes from one call to the next.
    """
    n_rows, n_targets = rows.y.shape
    last_loss = math.nan
    for step in range(span.first, span.stop):
        start = (span.position + step) % span.per_epoch * span.size
        stop = min(start + span.size, n_rows)
        n_values = total_weight(rows, start, stop) * n_targets
        squares = sum_squares(rows, state, start, stop)
        if not squares <= rule.largest:
            return Outcome(step, step, last_loss)
        last_loss = squares / n_values
        epoch = (span.position + step) // span.per_epoch
        record.epoch_sums[epoch] += last_loss * (stop - start) / span.size
        grad_norm = _scale_gradient(state, -2.0 / n_values)
        if step % record.every == 0:
            record.loss[step // record.every] = last_loss
            record.grad_norm[step // record.every] = grad_norm
        if not _update(state, rule, step == 0 and not state.moving):
            return Outcome(step, step + 1, last_loss)
    return Outcome(span.stop, span.stop, last_loss)


@compiled
def sum_all(rows: Rows, state: State) -> tuple[float, float]:
    """The sum of squared residuals over all rows in order, and what the rows count together."""
    n_rows = len(rows.y)
    return sum_squares(rows, state, 0, n_rows), total_weight(rows, 0, n_rows)


@compiled
def fill_tiles(rows: Rows) -> None:
    """Lay all rows, in order, into the tiles."""
    width = rows.tiles_x.shape[2]
    for first in range(0, len(rows.x), width):
        _fill_tile(rows, first, min(width, len(rows.x) - first), first // width)


@inlined
def total_weight(rows: Rows, start: int, stop: int) -> float:
    """What [start, stop) of the order count together; 1 where they all count nothing."""
    if not rows.weighted:
        return float(stop - start)
    total = 0.0
    for i in range(start, stop):
        total += rows.weight[rows.order[i]]
    return total if total > 0.0 else 1.0


@inlined
def sum_squares(rows: Rows, state: State, start: int, stop: int) -> float:
    """The sum of squared residuals over [start, stop) of the order, each times its row's weight.

    Leaves in `state.gradient` the residuals' dot products with what each parameter multiplies.
    """
    width = rows.tiles_x.shape[2]
    state.gradient[:] = 0.0
    squares = 0.0
    for first in range(start, stop, width):
        n_rows = min(width, stop - first)
        tile = first // width
        if not rows.resident:
            tile = 0
            _fill_tile(rows, first, n_rows, tile)
        squares += _add_tile(rows, tile, n_rows, state)
    return squares


@inlined
def _fill_tile(rows: Rows, first: int, n_rows: int, tile: int) -> None:
    for i in range(n_rows):
        row = rows.order[first + i]
        for j in range(rows.x.shape[1]):
            rows.tiles_x[tile, j, i] = rows.x[row, j]
        for t in range(rows.y.shape[1]):
            rows.tiles_y[tile, t, i] = rows.y[row, t]
        if rows.weighted:
            rows.tiles_weight[tile, i] = rows.weight[row]


@inlined
def _add_tile(rows: Rows, tile: int, n_rows: int, state: State) -> float:
    """Add the tile's dot products to the gradient; its sum of squares."""
    x, y = rows.tiles_x[tile], rows.tiles_y[tile]
    n_features, n_targets = len(x), len(y)
    residual = state.residual
    squares = 0.0
    for t in range(n_targets):
        weight = t * n_features
        bias = n_targets * n_features + t
        intercept = state.parameters[bias] if state.has_bias else 0.0
        for i in range(n_rows):
            residual[i] = y[t, i] - intercept
        for j in range(n_features):
            _subtract_scaled(residual, state.parameters[weight + j], x, j, n_rows)
        if rows.weighted:
            squares += _weigh(residual, rows.tiles_weight, tile, n_rows)
        for j in range(n_features):
            state.gradient[weight + j] += _dot(residual, x, j, n_rows)
        tile_squares, tile_sum = _square_and_sum(residual, n_rows)
        if not rows.weighted:
            squares += tile_squares
        if state.has_bias:
            state.gradient[bias] += tile_sum
    return squares


@inlined
def _subtract_scaled(target: Floats, scale: float, columns: Floats, j: int, n: int) -> None:
    for i in range(n):
        target[i] -= scale * columns[j, i]


@inlined
def _weigh(residual: Floats, weights: Floats, tile: int, n: int) -> float:
    """Multiply the residuals by their weights; the sum of their squares, each times its weight."""
    squares = 0.0
    for i in range(n):
        weighted = weights[tile, i] * residual[i]
        squares += weighted * residual[i]
        residual[i] = weighted
    return squares


@inlined
def _dot(a: Floats, b: Floats, j: int, n: int) -> float:
    """The dot product, in eight sums side by side: one would wait for itself at every row."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = n - n % 8
    for i in range(0, whole, 8):
        s0 += a[i] * b[j, i]
        s1 += a[i + 1] * b[j, i + 1]
        s2 += a[i + 2] * b[j, i + 2]
        s3 += a[i + 3] * b[j, i + 3]
        s4 += a[i + 4] * b[j, i + 4]
        s5 += a[i + 5] * b[j, i + 5]
        s6 += a[i + 6] * b[j, i + 6]
        s7 += a[i + 7] * b[j, i + 7]
    for i in range(whole, n):
        s0 += a[i] * b[j, i]
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@inlined
def _square_and_sum(a: Floats, n: int) -> tuple[float, float]:
    """The sum of squares and the sum, each in four sums side by side."""
    q0 = q1 = q2 = q3 = 0.0
    s0 = s1 = s2 = s3 = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        q0 += a[i] * a[i]
        q1 += a[i + 1] * a[i + 1]
        q2 += a[i + 2] * a[i + 2]
        q3 += a[i + 3] * a[i + 3]
        s0 += a[i]
        s1 += a[i + 1]
        s2 += a[i + 2]
        s3 += a[i + 3]
    for i in range(whole, n):
        q0 += a[i] * a[i]
        s0 += a[i]
    return (q0 + q2) + (q1 + q3), (s0 + s2) + (s1 + s3)


@inlined
def _scale_gradient(state: State, scale: float) -> float:
    """Turn the dot products into the loss's gradient; its L2 norm."""
    squares = 0.0
    for i in range(len(state.gradient)):
        state.gradient[i] *= scale
        squares += state.gradient[i] * state.gradient[i]
    return math.sqrt(squares)


@inlined
def _update(state: State, rule: Rule, first: bool) -> bool:
    """One update as torch.optim.SGD makes it; false, and none, where it would not be finite."""
    finite = True
    for i in range(len(state.parameters)):
        direction = state.gradient[i] + rule.weight_decay * state.parameters[i]
        if rule.momentum != 0.0:
            if first:
                state.velocity[i] = direction
            else:
                pulled = (1.0 - rule.dampening) * direction
                state.velocity[i] = rule.momentum * state.velocity[i] + pulled
            if rule.nesterov:
                direction += rule.momentum * state.velocity[i]
            else:
                direction = state.velocity[i]
        state.candidate[i] = state.parameters[i] - rule.lr * direction
        # A direction past float32's range would be infinite there, and so would the weight.
        in_range = abs(direction) <= rule.largest and abs(state.candidate[i]) <= rule.largest
        finite = finite and in_range
    if finite:
        state.parameters[:] = state.candidate
    return finite
