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


class Bench(NamedTuple):
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
def bench_for(x: Floats, coefficients: Floats) -> Bench:
    """Room for fits of x (B, n, d) from coefficients (B, k, p) on."""
    n_rows, n_features = x.shape[1], x.shape[2]
    n_targets = coefficients.shape[1]
    width, size = n_features + n_targets, n_targets * coefficients.shape[2]
    numbers = np.empty((width + n_targets + 1) * n_rows * N_LANES)
    return Bench(
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
def lay_table(bench: Bench, table: Table, coefficients: Floats, lane: int) -> None:
    """Take up a fit: its table, and its first coefficients (k, p)."""
    table_loops.lay(table, bench.columns.numbers, lane, N_LANES)
    lay_coefficients(bench, coefficients, lane)


@internal_to_the_letter
def lay_coefficients(bench: Bench, coefficients: Floats, lane: int) -> None:
    """Coefficients (k, p), at which the loss is taken next."""
    n_targets, width = coefficients.shape
    for target in range(n_targets):
        for i in range(width):
            bench.start[(target * width + i) * N_LANES + lane] = coefficients[target, i]


@internal_to_the_letter
def take_moments(bench: Bench, has_bias: bool) -> None:
    """The moments of all fits' rows."""
    zero = lanes_of(0.0)
    table_loops.take_residuals(bench.columns, bench.start, has_bias, zero)
    table_loops.take_moments(bench.columns, bench.moments, zero)


@internal_to_the_letter
def moments_of(bench: Bench, lane: int) -> tuple[float, Floats, Floats]:
    """One fit's, as `table_loops.told` takes them."""
    width = len(bench.mean)
    for i in range(width):
        bench.mean[i] = bench.moments.mean[i * N_LANES + lane]
        for j in range(width):
            place = (i * width + j) * N_LANES + lane
            bench.covariance[i, j] = bench.moments.covariance[place]
    return bench.moments.total[lane], bench.mean, bench.covariance


@internal_to_the_letter
def lay_spectrum(bench: Bench, spectrum: Spectrum, coefficients: Floats, lane: int) -> None:
    """One fit's coordinates, where it begins from coefficients (k, p)."""
    n_targets, width = coefficients.shape
    turned = coefficients @ spectrum.basis
    for target in range(n_targets):
        for i in range(width):
            place = (target * width + i) * N_LANES + lane
            bench.scale[place] = spectrum.scale[i]
            bench.slope[place] = 2.0 / n_targets * spectrum.scale[i]
            bench.turned[place], bench.pull[place] = turned[target, i], spectrum.pull[target, i]
            bench.place[place], bench.velocity[place] = 0.0, 0.0
    bench.rest[lane] = spectrum.rest


@internal_to_the_letter
def sum_squares(bench: Bench, has_bias: bool) -> None:
    """Leave all fits' sums of squares where the losses are, at the coefficients last laid."""
    zero = lanes_of(0.0)
    table_loops.take_residuals(bench.columns, bench.start, has_bias, zero)
    store(bench.loss, 0, table_loops.sum_squares(bench.columns, zero))


class Way(NamedTuple):
    """The steps to make: rates lr (R, T), path (N,) says whose are which, and momentum (T,)."""

    lr: Floats
    path: NDArray[np.int64]
    momentum: Floats


class Kept(NamedTuple):
    """Where the fits' histories go, a row each: every so many steps, and the sums of each epoch."""

    loss: Floats
    grad_norm: Floats
    epoch_sums: Floats
    every: int


@internal_to_the_letter
def descend(bench: Bench, rule: Rule, way: Way, kept: Kept, n_targets: int) -> bool:
    """Make all steps; False where one is none of those that all fits make alike."""
    n_coordinates = len(bench.scale) // N_LANES
    surely = rule.largest / math.sqrt(n_coordinates // n_targets)
    zero = lanes_of(0.0)
    rest, sure_loss = load(bench.rest, 0, zero), load(bench.sure_loss, 0, zero)
    squares = norm_squares = zero
    for i in range(n_coordinates):
        pull = load(bench.pull, i, zero)
        squares, norm_squares = _added(bench, i, pull, squares, norm_squares)
    moving = False
    row = due = 0
    for t in range(way.lr.shape[1]):
        loss, grad_norm = rest + squares / float(n_targets), root(norm_squares)
        within = all_at_most(loss, sure_loss) and all_at_most(rule.sure_tolerance, grad_norm)
        if not (within and all_at_most(grad_norm + spectral_loops.CLIPPING, rule.clip_grad_norm)):
            return False
        _keep(bench, kept, t, row if due == 0 else -1, (loss, grad_norm))
        row, due = (row + 1, kept.every) if due == 0 else (row, due)
        due -= 1
        for lane in range(N_LANES):
            bench.lr[lane] = way.lr[way.path[lane], t]
        lr = load(bench.lr, 0, zero)
        squares = norm_squares = zero
        near = True
        for i in range(n_coordinates):
            at = Coordinate(
                load(bench.scale, i, zero),
                load(bench.slope, i, zero),
                load(bench.turned, i, zero),
                load(bench.place, i, zero),
                load(bench.pull, i, zero),
                load(bench.velocity, i, zero),
            )
            place, pull, velocity, direction = spectral_loops.moved(
                at, rule, 1.0, lr, way.momentum[t], moving
            )
            store(bench.place, i, place)
            store(bench.pull, i, pull)
            store(bench.velocity, i, velocity)
            squares, norm_squares = _added(bench, i, pull, squares, norm_squares)
            near = near and all_at_most(magnitude(direction), surely)
            near = near and all_at_most(magnitude(at.turned + place), surely)
        if not near:
            return False
        moving = moving or way.momentum[t] != 0.0
    return True


@inlined_to_the_letter
def _added(bench: Bench, i: int, pull: Any, squares: Any, norm_squares: Any) -> tuple[Any, Any]:
    """The sums of squares with a coordinate's."""
    gradient = load(bench.slope, i, pull) * pull
    return squares + pull * pull, norm_squares + gradient * gradient


@inlined_to_the_letter
def _keep(bench: Bench, kept: Kept, step: int, row: int, seen: tuple[Any, Any]) -> None:
    """Enter a step; in the row of those that are kept, if it has one."""
    store(bench.loss, 0, seen[0])
    store(bench.grad_norm, 0, seen[1])
    for lane in range(N_LANES):
        kept.epoch_sums[lane, step] = bench.loss[lane]
        if row >= 0:
            kept.loss[lane, row] = bench.loss[lane]
            kept.grad_norm[lane, row] = bench.grad_norm[lane]
