"""The compiled pass over a small table of least squares, and the spectrum that it tells."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine import spectrum_loops
from workers.engine.compiled import (
    compiled_to_the_letter,
    inlined_to_the_letter,
    internal_to_the_letter,
)
from workers.engine.compiled_lanes import load, store
from workers.engine.spectrum_loops import Factor, Spectrum

Floats = NDArray[np.float64]

# What a look at the rows found.
FOUND, ILL_CONDITIONED, NOT_FINITE = range(3)


class Table(NamedTuple):
    """A small table's rows: x (n, d), y (n, k), weight (n,), or (0,) where all count alike.

    Numbers are read in float32 where `single`.
    """

    x: Floats
    y: Floats
    weight: Floats
    single: bool


class Line(NamedTuple):
    """What the rows are fitted by: whether the layer has a bias, and its penalties.

    `tolerated` is the largest relative error of an eigenvalue of the Hessian, and `largest` the
    largest number of the fit's dtype.
    """

    has_bias: bool
    l1: float
    l2: float
    tolerated: float
    largest: float


@inlined_to_the_letter
def seen(number: float, single: bool) -> float:
    """The number, as the fit's dtype holds it."""
    return np.float64(np.float32(number)) if single else number


class Columns(NamedTuple):
    """A small table in a flat array, of numbers or of lanes: a column is `n_rows` of them.

    First the features', then the residuals' ŷ - y, the targets' and the rows' weights'.
    """

    numbers: Floats
    n_rows: int
    n_features: int
    n_targets: int


class Moments(NamedTuple):
    """The rows' weights together, (1,), and the mean and covariance of their [x, ŷ - y].

    mean (d + k,) and covariance ((d + k)²,), of numbers or of lanes.
    """

    total: Floats
    mean: Floats
    covariance: Floats


@internal_to_the_letter
def lay(table: Table, numbers: Floats, lane: int, n_lanes: int) -> None:
    """Put the table's numbers into their columns, but for the residuals."""
    n_rows, n_features = table.x.shape
    n_targets = table.y.shape[1]
    single = table.single
    for i in range(n_features):
        at = i * n_rows * n_lanes + lane
        for row in range(n_rows):
            numbers[at + row * n_lanes] = seen(table.x[row, i], single)
    for target in range(n_targets):
        at = (n_features + n_targets + target) * n_rows * n_lanes + lane
        for row in range(n_rows):
            numbers[at + row * n_lanes] = seen(table.y[row, target], single)
    at = (n_features + 2 * n_targets) * n_rows * n_lanes + lane
    is_weighted = len(table.weight) > 0
    for row in range(n_rows):
        share = seen(table.weight[row], single) if is_weighted else 1.0
        numbers[at + row * n_lanes] = share


@internal_to_the_letter
def take_residuals(columns: Columns, coefficients: Floats, has_bias: bool, zero: Any) -> None:
    """Those of the coefficients (k·p,), the bias last; `zero` is a number or a line of lanes."""
    numbers, n_rows, n_features, n_targets = columns
    width = n_features + 1 if has_bias else n_features
    for target in range(n_targets):
        residuals = (n_features + target) * n_rows
        targets = residuals + n_targets * n_rows
        bias = load(coefficients, target * width + n_features, zero) if has_bias else zero
        for row in range(n_rows):
            residual = bias
            for i in range(n_features):
                weight = load(coefficients, target * width + i, zero)
                residual = residual + weight * load(numbers, i * n_rows + row, zero)
            store(numbers, residuals + row, residual - load(numbers, targets + row, zero))


@internal_to_the_letter
def take_moments(columns: Columns, moments: Moments, zero: Any) -> None:
    """The moments around the mean: rows are centred before they are squared."""
    numbers, n_rows, n_features, n_targets = columns
    width = n_features + n_targets
    shares = (width + n_targets) * n_rows
    total = zero
    for row in range(n_rows):
        total = total + load(numbers, shares + row, zero)
    store(moments.total, 0, total)
    for i in range(width):
        summed = zero
        for row in range(n_rows):
            share = load(numbers, shares + row, zero)
            summed = summed + share * load(numbers, i * n_rows + row, zero)
        store(moments.mean, i, summed / total)
    for i in range(width):
        for j in range(i + 1):
            product = _product(columns, moments.mean, (i, j), shares, zero) / total
            store(moments.covariance, i * width + j, product)
            store(moments.covariance, j * width + i, product)


@internal_to_the_letter
def _product(columns: Columns, mean: Floats, pair: tuple[int, int], shares: int, zero: Any) -> Any:
    numbers, n_rows = columns.numbers, columns.n_rows
    i, j = pair
    own, other, summed = load(mean, i, zero), load(mean, j, zero), zero
    for row in range(n_rows):
        centred = load(numbers, i * n_rows + row, zero) - own
        weighed = load(numbers, shares + row, zero) * centred
        summed = summed + weighed * (load(numbers, j * n_rows + row, zero) - other)
    return summed


@internal_to_the_letter
def sum_squares(columns: Columns, zero: Any) -> Any:
    """The sum of the rows' squared residuals, each times its row's weight."""
    numbers, n_rows, n_features, n_targets = columns
    shares = (n_features + 2 * n_targets) * n_rows
    squares = zero
    for row in range(n_rows):
        of_row = zero
        for target in range(n_targets):
            residual = load(numbers, (n_features + target) * n_rows + row, zero)
            of_row = of_row + residual * residual
        squares = squares + load(numbers, shares + row, zero) * of_row
    return squares


@internal_to_the_letter
def loss_of(squares: float, total: float, coefficients: Floats, line: Line) -> float:
    """The loss, penalty included, of a layer (k, p) whose squares are these."""
    if not squares <= line.largest:
        return math.inf
    n_targets, n_features = len(coefficients), coefficients.shape[1]
    n_features -= 1 if line.has_bias else 0
    penalty = 0.0
    if line.l1 != 0.0 or line.l2 != 0.0:
        for target in range(n_targets):
            for i in range(n_features):
                weight = coefficients[target, i]
                penalty += line.l1 * abs(weight) + line.l2 * weight**2
    return squares / (total * n_targets) + penalty


@compiled_to_the_letter
def loss_over(table: Table, coefficients: Floats, line: Line) -> float:
    """The loss, penalty included, of a layer (k, p); infinite where no dtype's number is."""
    columns = columns_of(table)
    take_residuals(columns, coefficients.reshape(-1), line.has_bias, 0.0)
    shares, total = len(columns.numbers) - columns.n_rows, 0.0
    for row in range(columns.n_rows):
        total += columns.numbers[shares + row]
    return loss_of(sum_squares(columns, 0.0), total, coefficients, line)


@internal_to_the_letter
def columns_of(table: Table) -> Columns:
    """A table's numbers by columns, but for the residuals."""
    n_rows, n_features = table.x.shape
    n_targets = table.y.shape[1]
    numbers = np.empty((n_features + 2 * n_targets + 1) * n_rows)
    lay(table, numbers, 0, 1)
    return Columns(numbers, n_rows, n_features, n_targets)


@compiled_to_the_letter
def survey(table: Table, coefficients: Floats, line: Line) -> tuple[int, Factor, Spectrum, float]:
    """The loss around a layer (k, p), its spectrum, and what a mean loss is a sum of.

    What was found comes first: others than those that are `FOUND` mean nothing.
    """
    moments = moments_at(columns_of(table), coefficients, line.has_bias)
    return told(table, coefficients, line, moments)


@internal_to_the_letter
def moments_at(
    columns: Columns, coefficients: Floats, has_bias: bool
) -> tuple[float, Floats, Floats]:
    """The rows' weights together, mean and covariance, around coefficients (k, p)."""
    take_residuals(columns, coefficients.reshape(-1), has_bias, 0.0)
    width = columns.n_features + columns.n_targets
    moments = Moments(np.empty(1), np.empty(width), np.empty(width * width))
    take_moments(columns, moments, 0.0)
    return moments.total[0], moments.mean, moments.covariance.reshape((width, width))


@compiled_to_the_letter
def told(
    table: Table, coefficients: Floats, line: Line, moments: tuple[float, Floats, Floats]
) -> tuple[int, Factor, Spectrum, float]:
    """As `survey`, by the moments of the table's rows: (total, mean, covariance)."""
    total, mean, covariance = moments
    finite, factor = spectrum_loops.factored(mean, covariance, coefficients, line.has_bias, line.l2)
    if not finite:
        return NOT_FINITE, factor, _nothing(coefficients), 0.0
    if not spectrum_loops.is_safe_factor(factor, line.tolerated):
        return ILL_CONDITIONED, factor, _nothing(coefficients), 0.0
    spectrum = spectrum_loops.decomposed(factor)
    if not spectrum_loops.is_safe_spectrum(spectrum, line.tolerated):
        return ILL_CONDITIONED, factor, spectrum, 0.0
    loss = spectrum_loops.loss_at(spectrum, np.zeros(coefficients.shape))
    if spectrum.rest < spectrum_loops.LEAST_SHARE * loss:
        best = spectrum_loops.moved(spectrum, coefficients, spectrum_loops.best_place(spectrum))
        rest = spectrum_loops.better_rest(spectrum, loss, loss_over(table, best, line))
        spectrum = Spectrum(spectrum.basis, spectrum.scale, spectrum.pull, rest)
    n_values = total if len(table.weight) > 0 else total * len(coefficients)
    return FOUND, factor, spectrum, n_values


@internal_to_the_letter
def _nothing(coefficients: Floats) -> Spectrum:
    """A spectrum that means nothing."""
    n_targets, width = coefficients.shape
    return Spectrum(np.zeros((width, width)), np.zeros(width), np.zeros((n_targets, width)), 0.0)
