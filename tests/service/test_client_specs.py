"""A command line's options as a fit's body."""

from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter

from service.client.errors import WrongUsage
from service.client.specs import (
    DRAWS,
    completed,
    finite,
    grid,
    listed,
    merged,
    numbers,
    parsed,
    space,
)
from service.schemas.batches import _DRAWS, Draw
from service.schemas.models import LinearModel, Mlp, PolynomialModel


def test_dotted_options_become_a_body_and_settings_win() -> None:
    body = merged(
        {"target": "y", "optimizer.lr": 0.1, "model.kind": None, "epochs": 5},
        ["optimizer.kind=adam", "optimizer.lr=0.2", 'tags=["a"]', "model.hidden=[4, 4]"],
    )

    assert body == {
        "target": "y",
        "optimizer": {"lr": 0.2, "kind": "adam"},
        "epochs": 5,
        "tags": ["a"],
        "model": {"hidden": [4, 4]},
    }


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1e-3", 1e-3), ("true", True), ("adam", "adam"), ("[1]", [1])]
)
def test_values_are_json_where_they_are(text: str, value: Any) -> None:
    assert parsed(text) == value


def test_axes_and_draws() -> None:
    assert grid(["optimizer.lr=0.1,0.01", "seed=1"]) == {"optimizer.lr": [0.1, 0.01], "seed": [1]}
    assert space(["optimizer.lr=log_uniform:1e-4:1", "seed=1,2", "batch_size=integers:1:9"]) == {
        "optimizer.lr": {"log_uniform": [1e-4, 1]},
        "seed": [1, 2],
        "batch_size": {"integers": [1, 9]},
    }
    assert space(['optimizer={"kind":"sgd"},{"kind":"adam"}'])["optimizer"][1] == {"kind": "adam"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[4,4],[8,8]", [[4, 4], [8, 8]]),
        ("[4, 4], [8],[]", [[4, 4], [8], []]),
        ('{"kind":"step","step_size":2},null', [{"kind": "step", "step_size": 2}, None]),
        ('"a,b","c]"', ["a,b", "c]"]),
        ("relu,tanh", ["relu", "tanh"]),
        ("adam,1,true, x", ["adam", 1, True, "x"]),
        ("1st,2nd", ["1st", "2nd"]),
        ("NaN,1", ["NaN", 1]),
        ("a=b", ["a=b"]),
    ],
)
def test_commas_part_values_but_not_what_is_within_them(text: str, values: list[Any]) -> None:
    assert grid([f"model={text}"]) == {"model": values}


def test_names_with_commas_are_said_in_json() -> None:
    assert listed("--target", "a, b") == ["a", "b"]
    assert listed("--target", '["a,b", "c"]') == ["a,b", "c"]
    assert listed("--target", "1") == ["1"]
    assert listed("--features", None) is None
    assert numbers("--hidden", "16,8") == numbers("--hidden", "[16, 8]") == [16, 8]


@pytest.mark.parametrize(
    ("body", "axes", "meant"),
    [
        ({}, [], {"epochs": 100}),
        ({"steps": 5}, [], {"steps": 5}),
        ({"model": {"hidden": [4]}, "steps": 5}, [], {"model": {"kind": "mlp", "hidden": [4]}}),
        ({"model": {"degree": 3}, "steps": 5}, [], {"model": {"kind": "polynomial", "degree": 3}}),
        ({"model": {"bias": False}, "steps": 5}, [], {"model": {"kind": "linear", "bias": False}}),
        ({"optimizer": {"lr": 1}, "steps": 5}, [], {"optimizer": {"kind": "sgd", "lr": 1}}),
        ({"steps": 5}, ["model.hidden"], {"model": {"kind": "mlp"}}),
        ({"steps": 5}, ["model.kind", "model.degree"], {}),
        ({"steps": 5}, ["model", "optimizer"], {}),
        ({}, ["epochs"], {}),
        ({"optimizer": 1, "steps": 5}, [], {}),
    ],
)
def test_what_is_not_said_is_meant(
    body: dict[str, Any], axes: list[str], meant: dict[str, Any]
) -> None:
    assert completed(body, axes) == body | meant


def test_the_kinds_and_draws_are_the_services() -> None:
    of_every_model = {*LinearModel.model_fields}
    for kind, model in (("mlp", Mlp), ("polynomial", PolynomialModel)):
        for argument in {*model.model_fields} - of_every_model:
            assert completed({"model": {argument: 1}})["model"]["kind"] == kind
    for kind in DRAWS:
        TypeAdapter(Draw).validate_python(space([f"x={kind}:1:2"])["x"])
    assert {*DRAWS} | {"choice"} == {*_DRAWS}


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda text: merged({}, [text]), "optimizer.lr"),
        (lambda text: merged({}, [text]), "=1"),
        (lambda text: merged({}, [text]), "a..b=1"),
        (lambda text: merged({}, [text]), "a="),
        (lambda text: merged({}, [text]), "model.hidden=[4,4"),
        (lambda text: merged({"optimizer": 1}, [text]), "optimizer.lr=1"),
        (lambda text: grid([text]), "seed="),
        (lambda text: grid([text]), "seed=1,,2"),
        (lambda text: grid([text]), "seed=1,"),
        (lambda text: grid([text]), "model.hidden=[4,4"),
        (lambda text: grid([text, text]), "seed=1"),
        (lambda text: space([text]), "seed"),
        (lambda text: space([text, text]), "seed=uniform:1:2"),
        (lambda text: space([text]), "lr=gauss:1:2"),
        (lambda text: space([text]), "lr=uniform:1"),
        (lambda text: space([text]), "lr=uniform:1:2:3"),
        (lambda text: space([text]), "lr=uniform:a:b"),
        (partial(numbers, "--hidden"), "a,b"),
        (partial(numbers, "--hidden"), ""),
        (partial(listed, "--target"), "x,"),
        (partial(listed, "--target"), ""),
        (partial(listed, "--target"), "[1]"),
        (lambda text: finite("--lr", float(text)), "nan"),
        (lambda text: finite("--lr", float(text)), "inf"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(make: Any, given: str) -> None:
    with pytest.raises(WrongUsage):
        make(given)
