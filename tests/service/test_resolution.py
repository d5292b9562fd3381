"""What a request means on its dataset, and every way in which it means nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InvalidInput
from service.resolution import resolve
from service.schemas.fits import FitRequest
from service.settings import Settings

DATASET = {
    "id": "ds_1",
    "n_rows": 10,
    "columns": [{"name": name} for name in ("x1", "x2", "y", "z")],
}


def spec_of(settings: Settings | None = None, **body: Any) -> dict[str, Any]:
    request = FitRequest.model_validate({"dataset": "ds_1", "target": "y", "steps": 5} | body)
    return resolve(request, DATASET, settings or Settings())


def places_of(settings: Settings | None = None, **body: Any) -> list[tuple[str, str | None]]:
    with pytest.raises(InvalidInput) as refused:
        spec_of(settings, **body)
    return [(place.code, place.pointer) for place in refused.value.places]


def test_features_default_to_every_column_but_the_target() -> None:
    assert spec_of()["features"] == ["x1", "x2", "z"]
    assert spec_of(target=["y", "z"])["features"] == ["x1", "x2"]
    assert spec_of(features=["x2"])["features"] == ["x2"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"target": "Y"}, [("unknown_column", "/target")]),
        ({"target": ["y", "w"]}, [("unknown_column", "/target/1")]),
        ({"features": ["x1", "nope"]}, [("unknown_column", "/features/1")]),
        ({"features": ["x1", "x1"]}, [("column_used_twice", "/features/1")]),
        ({"features": ["y"]}, [("column_used_twice", "/features/0")]),
        ({"target": ["x1", "x2", "y", "z"]}, [("no_features", "/target")]),
        ({"batch_size": 11, "drop_last": True}, [("no_batch", "/batch_size")]),
        ({"init": {"weights": {"weight": [[1, 2, 3]]}}}, [("required", "/init/weights")]),
        (
            {"init": {"weights": {"weight": [[1, 2]], "bias": [0, 0]}}},
            [("wrong_shape", "/init/weights/weight"), ("wrong_shape", "/init/weights/bias")],
        ),
        (
            {"init": {"weights": {"weight": [[1, 2, 3]], "bias": [0], "b/ias": [0]}}},
            [("unknown_field", "/init/weights/b~1ias")],
        ),
        (
            {"init": {"weights": {"weight": [[1], [2, 3]], "bias": [[0]]}}},
            [("wrong_shape", "/init/weights/weight"), ("wrong_shape", "/init/weights/bias")],
        ),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(
    body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert places_of(**body) == expected


def test_limits_are_named() -> None:
    few_steps, few_parameters = Settings(max_steps=9), Settings(max_parameters=3)

    assert spec_of(few_steps, steps=9)["steps"] == 9
    assert places_of(few_steps, steps=10) == [("too_many_steps", "/steps")]
    assert places_of(few_steps, steps=None, epochs=4, batch_size=4) == [
        ("too_many_steps", "/epochs")
    ]
    assert places_of(few_parameters) == [("too_many_parameters", "/model")]


def test_a_misspelt_column_is_guessed() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'x1'"):
        spec_of(features=["x11"])


def test_a_feature_must_not_hide_the_intercept() -> None:
    dataset = DATASET | {"columns": [{"name": "intercept"}, {"name": "y"}]}
    body = {"dataset": "ds_1", "target": "y", "steps": 1}

    with pytest.raises(InvalidInput, match="rename it"):
        resolve(FitRequest.model_validate(body), dataset, Settings())
    unbiased = FitRequest.model_validate(body | {"model": {"kind": "linear", "bias": False}})
    assert resolve(unbiased, dataset, Settings())["features"] == ["intercept"]


@pytest.mark.parametrize(
    "body",
    [
        {"steps": None},
        {"epochs": 1},
        {"steps": 0},
        {"steps": 1.0},
        {"steps": True},
        {"batch_size": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": {"typo": 1}},
        {"dtype": "float16"},
        {"target": []},
        {"features": []},
        {"misspelt": 1},
        {"optimizer": {"kind": "sgd", "lr": "0.1"}},
        {"optimizer": {"kind": "sgd", "lr": -0.1}},
        {"optimizer": {"kind": "sgd", "lr": True}},
        {"optimizer": {"kind": "sgd", "lr": float("inf")}},
        {"optimizer": {"kind": "sgd", "nesterov": True}},
        {"optimizer": {"kind": "sgd", "nesterov": True, "momentum": 0.9, "dampening": 0.1}},
        {"init": {"kind": "typo"}},
        {"init": {"weights": {"weight": [["1"]]}}},
        {"record": {"every": 0}},
        {"limits": {"max_seconds": 0}},
    ],
)
def test_the_schema_refuses(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FitRequest.model_validate({"dataset": "ds_1", "target": "y", "steps": 5} | body)
