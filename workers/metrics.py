"""How good predictions are, by scikit-learn's definitions.

The formulas are written out because they stand in every fit's way: scikit-learn's functions
check their arguments for longer than a small fit takes. The tests hold the two together.
"""

import numpy as np
from numpy.typing import NDArray


def regression_metrics(
    true: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, float]:
    """mse, rmse, mae, r2 and max_error over (n, k) float64; several targets count alike.

    What overflows is infinite or NaN; r2 of a single row is NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        residual = true - predicted
        mse = float(np.mean(residual**2))
        distance = np.abs(residual)
        return {
            "mse": mse,
            "rmse": mse**0.5,
            "mae": float(np.mean(distance)),
            "r2": _r2(true, residual),
            "max_error": float(distance.max()),
        }


def _r2(true: NDArray[np.float64], residual: NDArray[np.float64]) -> float:
    """The mean over the targets; of a constant target 1 where it is met exactly, else 0."""
    if len(true) == 1:
        return float("nan")
    unexplained = np.sum(residual**2, axis=0)
    total = np.sum((true - true.mean(axis=0)) ** 2, axis=0)
    varied = total != 0
    r2 = 1 - unexplained / np.where(varied, total, 1)
    return float(np.mean(np.where(varied, r2, np.where(unexplained == 0, 1.0, 0.0))))
