"""What the tests of optima start from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.workers.engine.given import noisy_plane, specification
from workers.engine import Data, RowSource, Shape
from workers.engine.diagnostics import LeastSquares, least_squares

NORRIS = json.loads((Path(__file__).parents[2] / "cases" / "norris.json").read_text())
LINEAR = {"kind": "linear", "bias": True}
THROUGH_ORIGIN = {"kind": "linear", "bias": False}
# Searches to the last digits.
LBFGS = {
    "kind": "lbfgs", "lr": 1.0, "max_iter": 100, "max_eval": None, "tolerance_grad": 1e-12,
    "tolerance_change": 1e-15, "history_size": 20, "line_search_fn": "strong_wolfe",
}  # fmt: skip


class Streamed:
    """Rows that are not in memory, as far as the engine can tell; it notes what is read."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self.shape, self.weighted = data.shape, data.weighted
        self.reads: list[tuple[int, int]] = []

    def read(self, first: int, stop: int) -> Data:
        self.reads.append((first, stop))
        return self._data.read(first, stop)


def norris() -> Data:
    """The readings of `NORRIS`."""
    return Data(np.array(NORRIS["x"])[:, None], np.array(NORRIS["y"])[:, None])


def stretched(n_targets: int = 1, *, weighted: bool = False) -> Data:
    """Features of different scales, off their origin."""
    plane = noisy_plane(60, 3, n_targets, weighted=weighted)
    return Data(plane.x * [1.0, 2.0, 0.5] + [0.5, 0.0, -1.0], plane.y, plane.weight)


def zeros(shape: Shape, *, bias: bool = True) -> dict[str, Any]:
    """All weights at 0."""
    shapes = specification(model=LINEAR | {"bias": bias}).model.weight_shapes(shape)
    return {name: np.zeros(size) for name, size in shapes.items()}


def found(data: RowSource, weights: Any = None, **changes: Any) -> LeastSquares:
    """The closed form beside these weights, or all at 0, of a specification with some changes."""
    bias = changes.get("model", LINEAR)["bias"]
    at = zeros(data.shape, bias=bias) if weights is None else weights
    best = least_squares(specification(**changes), data, at)
    assert best is not None
    return best


def flat(weights: Any) -> NDArray[np.float64]:
    """All numbers of all weights."""
    return np.concatenate([np.ravel(weight) for weight in weights.values()])
