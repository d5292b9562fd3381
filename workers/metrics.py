"""How good predictions are, by scikit-learn's definitions.

The formulas are written out because they stand in every fit's way, and because tables larger than
memory are measured block by block: scikit-learn's functions check their arguments for longer than
a small fit takes, and want all rows at once. The tests hold the two together.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class RegressionMetrics:
    """mse, rmse, mae, r2 and max_error, gathered block by block in one pass."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._n_targets = 0
        self._squares: Floats | float = 0.0
        self._distance = 0.0
        self._largest = 0.0
        self._origin: Floats | None = None
        self._mean: Floats | float = 0.0
        self._spread: Floats | float = 0.0

    def add(self, true: Floats, predicted: Floats) -> None:
        """Take the next rows in, (m, k) float64 each, at least one."""
        with np.errstate(over="ignore", invalid="ignore"):
            residual = true - predicted
            distance = np.abs(residual)
            self._squares += np.sum(residual**2, axis=0)
            self._distance += float(distance.sum())
            self._largest = float(np.maximum(self._largest, distance.max()))
            self._merge(true)

    def _merge(self, true: Floats) -> None:
        """Merge the mean and the sum of squares around it, as Chan, Golub and LeVeque (1979) do.

        Both are of distances from the first row: those of a constant target are exactly 0, where
        the mean of its own numbers may be rounded.
        """
        if self._origin is None:
            self._origin = true[0].copy()
        n, m = self._n_rows, len(true)
        shifted = true - self._origin
        mean = shifted.sum(axis=0) / m
        gap = mean - self._mean
        spread = np.sum((shifted - mean) ** 2, axis=0)
        self._spread += spread if n == 0 else spread + gap * gap * (n * m / (n + m))
        self._mean += gap * (m / (n + m))
        self._n_rows, self._n_targets = n + m, true.shape[1]

    def result(self) -> dict[str, float]:
        """The metrics of all rows, at least one; several targets count alike.

        What overflows is infinite or NaN; r2 of a single row is NaN.
        """
        n_values = self._n_rows * self._n_targets
        with np.errstate(over="ignore"):
            mse = float(np.sum(self._squares)) / n_values
        return {
            "mse": mse,
            "rmse": mse**0.5,
            "mae": self._distance / n_values,
            "r2": self._r2(),
            "max_error": self._largest,
        }

    def _r2(self) -> float:
        """The mean over the targets; of a constant target 1 where it is met exactly, else 0."""
        if self._n_rows == 1:
            return float("nan")
        with np.errstate(over="ignore", invalid="ignore"):
            varied = np.not_equal(self._spread, 0)
            r2 = 1 - self._squares / np.where(varied, self._spread, 1)
            met = np.where(np.equal(self._squares, 0), 1.0, 0.0)
            return float(np.mean(np.where(varied, r2, met)))
