"""How good a model is on some rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.class_metrics import ClassMetrics
from workers.engine import RowSource, Scaling, Specification, answers, blocks, predict
from workers.engine.losses import Hinge
from workers.metrics import RegressionMetrics


def measure(
    spec: Specification,
    weights: Mapping[str, NDArray[Any]],
    scaling: Scaling | None,
    classes: Sequence[Any] | None,
    rows: RowSource,
) -> dict[str, Any]:
    """The metrics on the rows, whose features are in their own units; None for what is not finite.

    Those of classes, where the target is one, else those of numbers.
    """
    shape = rows.shape
    numbers = RegressionMetrics(shape.n_targets)
    if classes is not None:
        of_classes = ClassMetrics(len(classes), probable=not isinstance(spec.loss, Hinge))
    with np.errstate(over="ignore", invalid="ignore"):
        for _, block in blocks(rows):
            x = block.x if scaling is None else scaling.scale(block.x)
            outputs = predict(spec.model, shape, weights, x)
            if classes is None:
                numbers.add(block.y, answers(spec.loss, outputs))
            else:
                of_classes.add(block.y, outputs)
        found = numbers.result() if classes is None else of_classes.result()
    return {name: v if isinstance(v, list) else finite(v) for name, v in found.items()}


def not_finite(numbers: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """`not_finite`: where each of the numbers or arrays is first not finite, in their flat order.

    Empty where all are. None counts as not finite, and lists of whole numbers as finite.
    """
    first = {
        name: np.flatnonzero(~np.isfinite(np.asarray(value, np.float64)))
        for name, value in numbers.items()
    }
    places = {name: int(found[0]) for name, found in first.items() if len(found)}
    return {"not_finite": places} if places else {}


def finite(value: float | None) -> float | None:
    """The number, or None for what JSON cannot say."""
    return float(value) if value is not None and math.isfinite(value) else None
