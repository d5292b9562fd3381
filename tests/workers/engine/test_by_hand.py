"""One step on three points, worked out with a pencil for every loss."""

import math
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import FULL_BATCH, sgd, specification
from workers.engine import Data, fit
from workers.engine.losses import LOSSES

NUMBERS = ([1.0, 1.0, 2.0], [0.5, -3.0, 2.0])
COUNTS = ([-1.0, 1.0, 2.0], [0.0, 1.0, 3.0])
HALVES = ([-1.0, 1.0, 2.0], [0.0, 1.0, 1.0])
THIRDS = ([-1.0, 1.0, 2.0], [0.0, 1.0, 2.0])

# At weights of 0 every prediction is 0: by kind, the points (x, y), the number of classes, the
# loss's arguments, the loss, and its gradient by the slopes and by the biases.
WORKED: dict[str, tuple[Any, int | None, dict[str, Any], float, list[float], list[float]]] = {
    # (0.25 + 9 + 4)/3; -2/3·(0.5 - 3 + 2·2), -2/3·(0.5 - 3 + 2)
    "mse": (NUMBERS, None, {}, 13.25 / 3, [-1.0], [1 / 3]),
    # (0.5 + 3 + 2)/3; (-1 + 1 - 2)/3, (-1 + 1 - 1)/3
    "mae": (NUMBERS, None, {}, 5.5 / 3, [-2 / 3], [-1 / 3]),
    # (0.125 + 2.5 + 1.5)/3; (-0.5 + 1 - 2)/3, (-0.5 + 1 - 1)/3
    "huber": (NUMBERS, None, {"delta": 1.0}, 4.125 / 3, [-0.5], [-1 / 6]),
    # (0.0625 + 2 + 1)/3; (-0.25 + 1 - 2)/3, (-0.25 + 1 - 1)/3
    "smooth_l1": (NUMBERS, None, {"beta": 2.0}, 3.0625 / 3, [-1.25 / 3], [-0.25 / 3]),
    # (0.25·0.5 + 0.75·3 + 0.25·2)/3; (-0.25 + 0.75 - 2·0.25)/3, (-0.25 + 0.75 - 0.25)/3
    "quantile": (NUMBERS, None, {"q": 0.25}, 2.875 / 3, [0.0], [0.25 / 3]),
    # e⁰ each; (-1·1 + 1·0 - 2·2)/3, (1 + 0 - 2)/3
    "poisson": (COUNTS, None, {}, 1.0, [-5 / 3], [-1 / 3]),
    # ln 2 each, a half less 1 where the class is the second; (-0.5 - 0.5 - 1)/3, -0.5/3
    "bce": (HALVES, 2, {"pos_weight": None}, math.log(2), [-2 / 3], [-1 / 6]),
    # 1 each; (-1 - 1 - 2)/3, (1 - 1 - 1)/3
    "hinge": (HALVES, 2, {}, 1.0, [-4 / 3], [-1 / 3]),
    # ln 3 each; a third of Σx = 2, less the class's own x, over 3
    "cross_entropy": (
        THIRDS, 3, {"label_smoothing": 0.0, "class_weight": None},
        math.log(3), [5 / 9, -1 / 9, -4 / 9], [0.0, 0.0, 0.0],
    ),
}  # fmt: skip
MODELS = {"bce": "logistic", "cross_entropy": "softmax"}


def test_every_loss_is_worked_out() -> None:
    assert set(WORKED) == set(LOSSES)


@pytest.mark.parametrize("strategy", ["reference", "auto", "streaming"])
@pytest.mark.parametrize("kind", WORKED)
def test_a_step_from_0(kind: str, strategy: str) -> None:
    (x, y), n_classes, arguments, loss, slopes, biases = WORKED[kind]
    spec = specification(
        model={"kind": MODELS.get(kind, "linear"), "bias": True},
        loss={"kind": kind} | arguments,
        init={"kind": "zeros"},
        optimizer=sgd(lr=0.5),
        steps=1,
        strategy=strategy,
    )

    result = fit(spec, Data(np.array(x)[:, None], np.array(y)[:, None], n_classes=n_classes))

    assert result.history.loss == pytest.approx([loss], rel=1e-14)
    assert result.history.grad_norm == pytest.approx([math.hypot(*slopes, *biases)], rel=1e-14)
    expected = [-0.5 * slope for slope in slopes]
    assert result.weights["weight"][:, 0] == pytest.approx(expected, rel=1e-14, abs=1e-16)
    expected = [-0.5 * bias for bias in biases]
    assert result.weights["bias"] == pytest.approx(expected, rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_step_of_weighted_rows(strategy: str) -> None:
    # given y = 1, 3, 2 at x = 0, 1, 2, and the line 1 + x/2, which misses the second point by -1.5
    data = Data(
        np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [2.0]]), np.array([1.0, 2.0, 1.0])
    )
    start = {"weights": {"weight": [[0.5]], "bias": [1.0]}}
    spec = specification(init=start, optimizer=sgd(lr=0.1), steps=1, strategy=strategy)

    result = fit(spec, data)

    # then that point is half of the loss, 2.25/2, and of the gradient, -3/2 by each weight
    assert result.history.loss == pytest.approx([1.125], rel=1e-15)
    assert result.history.grad_norm == pytest.approx([1.5 * math.sqrt(2)], rel=1e-15)
    assert result.weights["weight"][0, 0] == pytest.approx(0.65, rel=1e-15)
    assert result.weights["bias"][0] == pytest.approx(1.15, rel=1e-15)
    # and the line 1.15 + 0.65·x misses by 0.15, -1.2 and 0.45
    after = (0.15**2 + 2 * 1.2**2 + 0.45**2) / 4
    assert result.final_loss == pytest.approx(after, rel=1e-14)


def test_a_step_with_penalties() -> None:
    # given one point that the line y = 2x meets, so that penalties alone pull at its slope
    data = Data(np.array([[1.0]]), np.array([[2.0]]))
    start = {"weights": {"weight": [[2.0]], "bias": [0.0]}}
    spec = specification(
        init=start, penalty={"l1": 0.5, "l2": 0.25}, optimizer=sgd(lr=0.1), steps=1
    )

    result = fit(spec, data)

    # then the loss is 0.5·2 + 0.25·2², its slope 0.5 + 2·0.25·2
    assert result.history.loss == pytest.approx([2.0], rel=1e-15)
    assert result.weights["weight"][0, 0] == pytest.approx(1.85, rel=1e-15)
    assert result.weights["bias"][0] == 0
