"""The number by which a batch's best fit is chosen."""

from collections.abc import Mapping
from typing import Any


def score(result: Mapping[str, Any] | None, metric: str | None) -> float | None:
    """The metric's value in a fit's result: `final_loss`, `train.r2`, `validation.loss`.

    None where the result has none, or none that is finite.
    """
    if result is None or metric is None:
        return None
    if metric in ("final_loss", "train.loss"):
        value = result["final_loss"]
    elif metric == "validation.loss":
        value = result.get("validation_loss")
    else:
        rows, _, name = metric.partition(".")
        value = (result["metrics"][rows] or {}).get(name)
    return None if value is None else float(value)
