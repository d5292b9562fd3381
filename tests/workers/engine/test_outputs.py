"""What a loss cannot take is refused before anything is computed."""

from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import STRATEGIES, noisy_plane, specification
from workers.engine import Data, SpecificationError, fit, loss_over

MLP = {
    "kind": "mlp", "hidden": [4], "activation": "relu", "dropout": 0.0, "batch_norm": False,
    "output": "auto",
}  # fmt: skip
CROSS_ENTROPY = {"kind": "cross_entropy", "label_smoothing": 0.0, "class_weight": None}
X = np.arange(12.0).reshape(6, 2)
CLASSES = np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("changes", "data", "pointer"),
    [
        ({"model": MLP}, Data(X, CLASSES, n_classes=3), "/model"),
        ({"model": {"kind": "softmax", "bias": True}}, Data(X, CLASSES, n_classes=3), "/model"),
        ({"model": MLP, "loss": CROSS_ENTROPY}, Data(X, CLASSES), "/loss"),
        ({"model": MLP, "loss": CROSS_ENTROPY}, Data(X, X), "/loss"),
        (
            {"model": MLP, "loss": CROSS_ENTROPY | {"class_weight": [1.0, 2.0]}},
            Data(X, CLASSES, n_classes=3),
            "/loss/class_weight",
        ),
    ],
)
def test_other_numbers_than_the_loss_takes_are_refused(
    changes: dict[str, Any], data: Data, pointer: str, strategy: str
) -> None:
    with pytest.raises(SpecificationError) as refused:
        fit(specification(**changes, strategy=strategy), data)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("unknown", [3.0, -1.0, 0.5, np.nan, np.inf])
def test_a_class_that_is_none_is_refused(unknown: float) -> None:
    y = CLASSES.copy()
    y[4] = unknown

    with pytest.raises(ValueError, match=f"{unknown} is none of the classes 0 to 2"):
        Data(X, y, n_classes=3)
    with pytest.raises(ValueError, match="must be"):
        Data(X, X, n_classes=3)


def test_an_evaluation_of_other_weights_is_refused() -> None:
    data = noisy_plane(20, 3)
    spec = specification(batch_size=7)
    for shape in ((1, 2), (1, 4), (2, 3)):
        weights = {"weight": np.ones(shape), "bias": np.zeros(shape[0])}

        with pytest.raises(SpecificationError) as refused:
            loss_over(spec, weights, data)
        assert refused.value.pointer.startswith("/init/weights")
