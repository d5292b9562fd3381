"""The compiled pass over a small table of least squares, and the spectrum that it tells."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine import spectrum_loops
from workers.engine.compiled import (
    compiled_to_the_letter,
    inlined_to_the_letter,
)
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


@compiled_to_the_letter
def moments(table: Table, coefficients: Floats, has_bias: bool) -> tuple[float, Floats, Floats]:
    """The sum of the rows' weights, and the mean and covariance of their [x, ŷ - y].

    coefficients (k, p), the bias last. Rows are centred before they are squared.
    """
    rows, shares = _rows(table, coefficients, has_bias)
    n_rows, width = rows.shape
    total = 0.0
    mean = np.zeros(width)
    for row in range(n_rows):
        total += shares[row]
        for i in range(width):
            mean[i] += shares[row] * rows[row, i]
    mean /= total
    products = np.zeros((width, width))
    for row in range(n_rows):
        for i in range(width):
            rows[row, i] -= mean[i]
        for i in range(width):
            weighed = shares[row] * rows[row, i]
            for j in range(i + 1):
                products[i, j] += weighed * rows[row, j]
    for i in range(width):
        for j in range(i + 1):
            products[i, j] /= total
            products[j, i] = products[i, j]
    return total, mean, products


@compiled_to_the_letter
def _rows(table: Table, coefficients: Floats, has_bias: bool) -> tuple[Floats, Floats]:
    """[x, ŷ - y] (n, d + k) and the rows' weights (n,)."""
    x, y, weight, single = table
    n_rows, n_features = x.shape
    n_targets = len(coefficients)
    rows = np.empty((n_rows, n_features + n_targets))
    shares = np.ones(n_rows)
    for row in range(n_rows):
        if len(weight) > 0:
            shares[row] = seen(weight[row], single)
        for i in range(n_features):
            rows[row, i] = seen(x[row, i], single)
        for target in range(n_targets):
            residual = coefficients[target, n_features] if has_bias else 0.0
            for i in range(n_features):
                residual += coefficients[target, i] * rows[row, i]
            rows[row, n_features + target] = residual - seen(y[row, target], single)
    return rows, shares


@compiled_to_the_letter
def loss_over(table: Table, coefficients: Floats, line: Line) -> float:
    """The loss, penalty included, of a layer (k, p); infinite where no dtype's number is."""
    rows, shares = _rows(table, coefficients, line.has_bias)
    n_features = table.x.shape[1]
    n_targets = len(coefficients)
    squares = total = 0.0
    for row in range(len(rows)):
        of_row = 0.0
        for target in range(n_targets):
            residual = rows[row, n_features + target]
            of_row += residual * residual
        squares += shares[row] * of_row
        total += shares[row]
    if not squares <= line.largest:
        return math.inf
    penalty = 0.0
    if line.l1 != 0.0 or line.l2 != 0.0:
        for target in range(n_targets):
            for i in range(n_features):
                weight = coefficients[target, i]
                penalty += line.l1 * abs(weight) + line.l2 * weight**2
    return squares / (total * n_targets) + penalty


@compiled_to_the_letter
def survey(table: Table, coefficients: Floats, line: Line) -> tuple[int, Factor, Spectrum, float]:
    """The loss around a layer (k, p), its spectrum, and what a mean loss is a sum of.

    What was found comes first: others than those that are `FOUND` mean nothing.
    """
    width = coefficients.shape[1]
    n_targets, n_features = len(coefficients), table.x.shape[1]
    nothing = Spectrum(np.zeros((width, width)), np.zeros(width), np.zeros((n_targets, width)), 0.0)
    total, mean, covariance = moments(table, coefficients, line.has_bias)
    weight = np.ascontiguousarray(coefficients[:, :n_features])
    finite, factor = spectrum_loops.factored(mean, covariance, weight, line.has_bias, line.l2)
    if not finite:
        return NOT_FINITE, factor, nothing, 0.0
    if not spectrum_loops.is_safe_factor(factor, line.tolerated):
        return ILL_CONDITIONED, factor, nothing, 0.0
    spectrum = spectrum_loops.decomposed(factor)
    if not spectrum_loops.is_safe_spectrum(spectrum, line.tolerated):
        return ILL_CONDITIONED, factor, nothing, 0.0
    loss = spectrum_loops.loss_at(spectrum, np.zeros((n_targets, width)))
    if spectrum.rest < spectrum_loops.LEAST_SHARE * loss:
        best = spectrum_loops.moved(spectrum, coefficients, spectrum_loops.best_place(spectrum))
        rest = spectrum_loops.better_rest(spectrum, loss, loss_over(table, best, line))
        spectrum = Spectrum(spectrum.basis, spectrum.scale, spectrum.pull, rest)
    n_values = total if len(table.weight) > 0 else total * n_targets
    return FOUND, factor, spectrum, n_values
