"""The compiled loop over several small fits of least squares at once, a lane each.

It makes the numbers of `spectral_loops.descend` for fits of which nothing ends before its last
step. Whatever else may come is left to that loop.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine import spectral_loops, table_loops
from workers.engine.compiled import inlined_to_the_letter, internal_to_the_letter
from workers.engine.compiled_lanes import (
    N_LANES,
    all_at_most,
    lanes_of,
    load,
    magnitude,
    root,
    store,
)
from workers.engine.spectral_loops import Coordinate, Rule
from workers.engine.spectrum_loops import Spectrum
from workers.engine.table_loops import Columns, Moments, Table

Floats = NDArray[np.float64]


class Scratch(NamedTuple):
    """Scratch room of a thread: lines of lanes in flat arrays.

    `columns` are the fits' tables, and `moments` theirs; mean and covariance are room for one
    fit's. start (k·p,) are the first weights, and scale to velocity (k·p,) the coordinates'
    numbers. rest, sure_loss, lr, loss and grad_norm are a line each.
    """

    columns: Columns
    moments: Moments
    mean: Floats
    covariance: Floats
    start: Floats
    scale: Floats
    slope: Floats
    turned: Floats
    place: Floats
    pull: Floats
    velocity: Floats
    rest: Floats
    sure_loss: Floats
    lr: Floats
    loss: Floats
    grad_norm: Floats


@internal_to_the_letter
def scratch_for(x: Floats, coefficients: Floats) -> Scratch:
    """Room for fits of x (B, n, d) from coefficients (B, k, p) on."""
    n_rows, n_features = x.shape[1], x.shape[2]
    n_targets = coefficients.shape[1]
    width, size = n_features + n_targets, n_targets * coefficients.shape[2]
    numbers = np.empty((width + n_targets + 1) * n_rows * N_LANES)
    return Scratch(
        Columns(numbers, n_rows, n_features, n_targets),
        Moments(np.empty(N_LANES), _lines(width), _lines(width * width)),
        np.empty(width),
        np.empty((width, width)),
        _lines(size),
        _lines(size),
        _lines(size),
        _lines(size),
        _lines(size),
        _lines(size),
        _lines(size),
        _lines(1),
        _lines(1),
        _lines(1),
        _lines(1),
        _lines(1),
    )


@internal_to_the_letter
def _lines(n: int) -> Floats:
    return np.empty(n * N_LANES)


@internal_to_the_letter
def lay_table(scratch: Scratch, table: Table, coefficients: Floats, lane: int) -> None:
    """Take up a fit: its table, and its first coefficients (k, p)."""
    table_loops.lay(table, scratch.columns.numbers, lane, N_LANES)
    lay_coefficients(scratch, coefficients, lane)


@internal_to_the_letter
def lay_coefficients(scratch: Scratch, coefficients: Floats, lane: int) -> None:
    """Coefficients (k, p), at which the loss is taken next."""
    n_targets, width = coefficients.shape
    for target in range(n_targets):
        for i in range(width):
            scratch.start[(target * width + i) * N_LANES + lane] = coefficients[target, i]


@internal_to_the_letter
def take_moments(scratch: Scratch, has_bias: bool) -> None:
    """The moments of all fits' rows."""
    zero = lanes_of(0.0)
    table_loops.take_residuals(scratch.columns, scratch.start, has_bias, zero)
    table_loops.take_moments(scratch.columns, scratch.moments, zero)


@internal_to_the_letter
def moments_of(scratch: Scratch, lane: int) -> tuple[float, Floats, Floats]:
    """One fit's, as `table_loops.told` takes them."""
    width = len(scratch.mean)
    for i in range(width):
        scratch.mean[i] = scratch.moments.mean[i * N_LANES + lane]
        for j in range(width):
            place = (i * width + j) * N_LANES + lane
            scratch.covariance[i, j] = scratch.moments.covariance[place]
    return scratch.moments.total[lane], scratch.mean, scratch.covariance


@internal_to_the_letter
def lay_spectrum(scratch: Scratch, spectrum: Spectrum, coefficients: Floats, lane: int) -> None:
    """One fit's coordinates, where it begins from coefficients (k, p)."""
    n_targets, width = coefficients.shape
    turned = coefficients @ spectrum.basis
    for target in range(n_targets):
        for i in range(width):
            place = (target * width + i) * N_LANES + lane
            scratch.scale[place] = spectrum.scale[i]
            scratch.slope[place] = 2.0 / n_targets * spectrum.scale[i]
            scratch.turned[place], scratch.pull[place] = turned[target, i], spectrum.pull[target, i]
            scratch.place[place], scratch.velocity[place] = 0.0, 0.0
    scratch.rest[lane] = spectrum.rest


@internal_to_the_letter
def sum_squares(scratch: Scratch, has_bias: bool) -> None:
    """Leave all fits' sums of squares where the losses are, at the coefficients last laid."""
    zero = lanes_of(0.0)
    table_loops.take_residuals(scratch.columns, scratch.start, has_bias, zero)
    store(scratch.loss, 0, table_loops.sum_squares(scratch.columns, zero))


class Steps(NamedTuple):
    """The steps to make: rates lr (R, T), path (N,) says whose are which, and momentum (T,)."""

    lr: Floats
    path: NDArray[np.int64]
    momentum: Floats


class Histories(NamedTuple):
    """Where the fits' histories go, a row each: every so many steps, and the sums of each epoch."""

    loss: Floats
    grad_norm: Floats
    epoch_sums: Floats
    every: int


@internal_to_the_letter
def descend(
    scratch: Scratch, rule: Rule, steps: Steps, histories: Histories, n_targets: int
) -> bool:
    """Make all steps; False where one is none of those that all fits make alike."""
    n_coordinates = len(scratch.scale) // N_LANES
    surely = rule.largest / math.sqrt(n_coordinates // n_targets)
    zero = lanes_of(0.0)
    rest, sure_loss = load(scratch.rest, 0, zero), load(scratch.sure_loss, 0, zero)
    squares = norm_squares = zero
    for i in range(n_coordinates):
        pull = load(scratch.pull, i, zero)
        squares, norm_squares = _added(scratch, i, pull, squares, norm_squares)
    moving = False
    row = due = 0
    for t in range(steps.lr.shape[1]):
        loss, grad_norm = rest + squares / float(n_targets), root(norm_squares)
        within = all_at_most(loss, sure_loss) and all_at_most(rule.sure_tolerance, grad_norm)
        if not (within and all_at_most(grad_norm + spectral_loops.CLIPPING, rule.clip_grad_norm)):
            return False
        _keep(scratch, histories, t, row if due == 0 else -1, (loss, grad_norm))
        row, due = (row + 1, histories.every) if due == 0 else (row, due)
        due -= 1
        for lane in range(N_LANES):
            scratch.lr[lane] = steps.lr[steps.path[lane], t]
        lr = load(scratch.lr, 0, zero)
        squares = norm_squares = zero
        near = True
        for i in range(n_coordinates):
            at = Coordinate(
                load(scratch.scale, i, zero),
                load(scratch.slope, i, zero),
                load(scratch.turned, i, zero),
                load(scratch.place, i, zero),
                load(scratch.pull, i, zero),
                load(scratch.velocity, i, zero),
            )
            place, pull, velocity, direction = spectral_loops.moved(
                at, rule, 1.0, lr, steps.momentum[t], moving
            )
            store(scratch.place, i, place)
            store(scratch.pull, i, pull)
            store(scratch.velocity, i, velocity)
            squares, norm_squares = _added(scratch, i, pull, squares, norm_squares)
            near = near and all_at_most(magnitude(direction), surely)
            near = near and all_at_most(magnitude(at.turned + place), surely)
        if not near:
            return False
        moving = moving or steps.momentum[t] != 0.0
    return True


@inlined_to_the_letter
def _added(scratch: Scratch, i: int, pull: Any, squares: Any, norm_squares: Any) -> tuple[Any, Any]:
    """The sums of squares with a coordinate's."""
    gradient = load(scratch.slope, i, pull) * pull
    return squares + pull * pull, norm_squares + gradient * gradient


@inlined_to_the_letter
def _keep(
    scratch: Scratch, histories: Histories, step: int, row: int, seen: tuple[Any, Any]
) -> None:
    """Enter a step; in the row of those that are kept, if it has one."""
    store(scratch.loss, 0, seen[0])
    store(scratch.grad_norm, 0, seen[1])
    for lane in range(N_LANES):
        histories.epoch_sums[lane, step] = scratch.loss[lane]
        if row >= 0:
            histories.loss[lane, row] = scratch.loss[lane]
            histories.grad_norm[lane, row] = scratch.grad_norm[lane]
