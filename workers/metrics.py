"""How good predictions are, by scikit-learn's definitions.

The formulas are written out because they stand in every fit's way, and because tables larger than
memory are measured block by block: scikit-learn's functions check their arguments for longer than
a small fit takes, and want all rows at once. The tests hold the two together.
"""

import numpy as np
from numpy.typing import NDArray

from workers.engine import regression_loops

Floats = NDArray[np.float64]


class RegressionMetrics:
    """mse, rmse, mae, r2 and max_error of `n_targets`, gathered block by block in one pass."""

    def __init__(self, n_targets: int) -> None:
        self._n_rows = 0
        self._sums = np.zeros((regression_loops.N_SUMS, n_targets))

    def add(self, true: Floats, predicted: Floats) -> None:
        """Take the next rows in, (m, k) float64 each, at least one."""
        # Copies: arrays that must not be written to are of another type to numba.
        true, predicted = (np.array(one, np.float64, order="C") for one in (true, predicted))
        regression_loops.add_rows(self._sums, self._n_rows, true, predicted)
        self._n_rows += len(true)

    def result(self) -> dict[str, float]:
        """The metrics of all rows, at least one; several targets count alike.

        What overflows is infinite or NaN; r2 of a single row is NaN, and of a constant target 1
        where it is met exactly, else 0.
        """
        mse, mae, r2, largest = regression_loops.told(self._sums, self._n_rows)
        return {"mse": mse, "rmse": mse**0.5, "mae": mae, "r2": r2, "max_error": largest}
