"""Which gradients are refused before any worker is asked."""

from typing import Any

import pytest

from service.context import Context
from service.errors import InvalidInput
from service.gradients import check_gradients
from service.schemas.rows import GradientRequest
from tests.service.conftest import OWNER

LINE = {"columns": {"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 4.0]}}
NORMED = {"kind": "mlp", "hidden": [1], "batch_norm": True}
NORMED_WEIGHTS = {
    "layers.0.weight": [[1.0]], "layers.0.bias": [0.0], "layers.1.weight": [[1.0]],
    "layers.1.bias": [0.0], "norms.0.weight": [1.0], "norms.0.bias": [0.0],
    "norms.0.running_mean": [0.0], "norms.0.running_var": [1.0],
}  # fmt: skip


def refused(context: Context, **changes: Any) -> list[tuple[str, str | None]]:
    body = {"dataset": LINE, "target": "y", "weights": {"weight": [[1.0]], "bias": [0.0]}}
    with pytest.raises(InvalidInput) as error:
        check_gradients(context, GradientRequest.model_validate(body | changes), OWNER)
    return [(place.code, place.pointer) for place in error.value.places]


def wide(n_features: int, n_rows: int) -> dict[str, Any]:
    generator = {"kind": "blobs", "n": n_rows, "dimensions": n_features, "centers": 2}
    return {
        "dataset": {"generator": generator},
        "weights": {"weight": [[0.0] * n_features], "bias": [0.0]},
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": {"weight": [[1.0]]}}, ("required", "/weights")),
        ({"weights": {"weight": [[1.0]], "bias": [0.0, 1.0]}}, ("wrong_shape", "/weights/bias")),
        ({"weights": {"weight": [[1.0]], "bias": [0.0], "a/b": [1.0]}},
         ("unknown_field", "/weights/a~1b")),
        ({"rows": [3]}, ("no_such_row", "/rows/0")),
        ({"features": ["z"]}, ("unknown_column", "/features/0")),
        ({"sample_weight": "x", "features": ["x"]}, ("column_used_twice", "/features/0")),
        ({"model": {"kind": "softmax"}, "loss": {"kind": "mse"}}, ("unsuitable_loss", "/loss")),
        ({"model": NORMED, "weights": NORMED_WEIGHTS, "rows": [1]}, ("batch_of_one", "/rows")),
        ({"model": NORMED, "weights": NORMED_WEIGHTS,
          "dataset": {"columns": {"x": [1.0], "y": [1.0]}}}, ("batch_of_one", "/dataset")),
    ],
)  # fmt: skip
def test_a_mistake_is_pointed_at(
    context: Context, changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert refused(context, **changes)[0] == expected


def test_what_would_take_too_long_is_refused(context: Context) -> None:
    assert refused(context, **wide(50, 1000) | {"model": {"kind": "mlp", "hidden": [300]},
                                                "weights": network(50, 300)}) == [
        ("too_many_parameters", "/model")
    ]  # fmt: skip
    assert refused(context, **wide(900, 20_000)) == [("too_many_rows", "/dataset")]
    many = {"rows": [0] * 20_000}
    assert refused(context, **wide(900, 10) | many) == [("too_many_rows", "/rows")]


def network(n_in: int, width: int) -> dict[str, Any]:
    return {
        "layers.0.weight": [[0.0] * n_in] * width, "layers.0.bias": [0.0] * width,
        "layers.1.weight": [[0.0] * width], "layers.1.bias": [0.0],
    }  # fmt: skip
