"""How good a model is on some rows."""

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
    numbers = RegressionMetrics()
    if classes is not None:
        of_classes = ClassMetrics(len(classes), probable=not isinstance(spec.loss, Hinge))
    with np.errstate(over="ignore", invalid="ignore"):
        for _, block in blocks(rows):
            x = block.x if scaling is None else scaling.scale(block.x)
            outputs = predict(spec.model, rows.shape, weights, x)
            if classes is None:
                numbers.add(block.y, answers(spec.loss, outputs))
            else:
                of_classes.add(block.y, outputs)
        found = numbers.result() if classes is None else of_classes.result()
    return {name: v if isinstance(v, list) else finite(v) for name, v in found.items()}


def finite(value: float | None) -> float | None:
    """The number, or None for what JSON cannot say."""
    return float(value) if value is not None and np.isfinite(value) else None
