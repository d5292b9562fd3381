"""The checks that came with a fit, at its end."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.checking import Found, evaluate
from workers.engine import Result, Specification, answers, blocks, predict
from workers.inputs import Loaded
from workers.recording import Arrays


def checked(
    spec: Mapping[str, Any],
    loaded: Loaded,
    result: Result,
    body: Mapping[str, Any],
    kept: Mapping[str, Arrays],
) -> list[dict[str, Any]]:
    """What each of the spec's checks comes to; `body` and `kept` are what is recorded."""
    found = Found(
        result=body,
        arrays=kept.__getitem__,
        predictions=lambda: _predictions(spec, loaded, result),
    )
    return evaluate(spec["checks"], found)


def _predictions(spec: Mapping[str, Any], loaded: Loaded, result: Result) -> NDArray[Any]:
    """What the fit says of its dataset's rows: (n,), or (n, k) of several targets."""
    engine_spec = Specification.from_mapping(spec)
    parts = []
    for _, block in blocks(loaded.rows):
        x = block.x if result.scaling is None else result.scaling.scale(block.x)
        outputs = predict(engine_spec.model, loaded.rows.shape, result.weights, x)
        parts.append(answers(engine_spec.loss, outputs))
    said = np.concatenate(parts)
    if loaded.classes is not None:
        return np.asarray(loaded.classes)[said[:, 0].astype(np.int64)]
    return said[:, 0] if said.shape[1] == 1 else said
