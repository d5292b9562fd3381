"""The compiled sums of how far predicted numbers are from the true ones."""

import math

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import compiled_to_the_letter

Floats = NDArray[np.float64]

# A row each, and a column a target: the first row's numbers, the sums of squared residuals and of
# their distances, the largest distance; the mean and the sum of squares around it, both of the
# true numbers' distances from the first row's.
N_SUMS = 6
# Of a block's rows so many are summed at first, then their sums: rounding grows with neither much.
_ROWS_A_SUM = 512
_ORIGIN, _SQUARES, _DISTANCE, _LARGEST, _MEAN, _SPREAD = range(N_SUMS)


@compiled_to_the_letter
def add_rows(sums: Floats, n_rows: int, true: Floats, predicted: Floats) -> None:
    """Add rows, `true` and `predicted` (m, k) float64, to the sums (N_SUMS, k) of `n_rows` others.

    Means and spreads are merged as Chan, Golub and LeVeque (1979) do. Of distances from the first
    row those of a constant target are exactly 0, where the mean of its own numbers may be rounded.
    """
    m = len(true)
    for j in range(true.shape[1]):
        if n_rows == 0:
            sums[_ORIGIN, j] = true[0, j]
        origin = sums[_ORIGIN, j]
        squares = distances = total = spread = 0.0
        largest = sums[_LARGEST, j]
        for first in range(0, m, _ROWS_A_SUM):
            some_squares = some_distances = some_total = 0.0
            for i in range(first, min(first + _ROWS_A_SUM, m)):
                residual = true[i, j] - predicted[i, j]
                distance = abs(residual)
                some_squares += residual * residual
                some_distances += distance
                some_total += true[i, j] - origin
                # What is no number stays.
                if distance > largest or math.isnan(distance):
                    largest = distance
            squares += some_squares
            distances += some_distances
            total += some_total
        mean = total / m
        for first in range(0, m, _ROWS_A_SUM):
            some_spread = 0.0
            for i in range(first, min(first + _ROWS_A_SUM, m)):
                off = true[i, j] - origin - mean
                some_spread += off * off
            spread += some_spread
        gap = mean - sums[_MEAN, j]
        sums[_SQUARES, j] += squares
        sums[_DISTANCE, j] += distances
        sums[_LARGEST, j] = largest
        sums[_MEAN, j] += gap * (m / (n_rows + m))
        sums[_SPREAD, j] += spread + gap * gap * (n_rows * m / (n_rows + m))


@compiled_to_the_letter
def told(sums: Floats, n_rows: int) -> tuple[float, float, float, float]:
    """The mean squared and the mean absolute error, r2 and the largest error of so many rows.

    Targets count alike. What overflows is infinite or no number; r2 of a single row is none.
    """
    n_targets = sums.shape[1]
    squares = distances = r2 = largest = 0.0
    for j in range(n_targets):
        squares += sums[_SQUARES, j]
        distances += sums[_DISTANCE, j]
        if sums[_LARGEST, j] > largest or math.isnan(sums[_LARGEST, j]):
            largest = sums[_LARGEST, j]
        if n_rows == 1:
            r2 += math.nan
        elif sums[_SPREAD, j] != 0.0:
            r2 += 1.0 - sums[_SQUARES, j] / sums[_SPREAD, j]
        elif sums[_SQUARES, j] == 0.0:
            r2 += 1.0
    n_values = n_rows * n_targets
    return squares / n_values, distances / n_values, r2 / n_targets, largest
