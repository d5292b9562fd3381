"""How good predictions are, by scikit-learn's definitions."""

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn import metrics


def regression_metrics(
    true: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, float]:
    """mse, rmse, mae, r2 and max_error over (n, k) float64; several targets count alike.

    Values that are not finite give NaN throughout.
    """
    names = ("mse", "rmse", "mae", "r2", "max_error")
    if not np.isfinite(predicted).all():
        return dict.fromkeys(names, float("nan"))
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        mse = float(metrics.mean_squared_error(true, predicted))
        return {
            "mse": mse,
            "rmse": mse**0.5,
            "mae": float(metrics.mean_absolute_error(true, predicted)),
            "r2": float(metrics.r2_score(true, predicted)) if len(true) > 1 else float("nan"),
            "max_error": float(metrics.max_error(true.ravel(), predicted.ravel())),
        }
