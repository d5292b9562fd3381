"""What a request means on its dataset, and every way in which it means nothing."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InvalidInput
from service.resolution import resolve
from service.schemas.fits import FitRequest
from service.settings import Settings
from service.tables.encoding import Feature, encode


def number(name: str, **facts: Any) -> dict[str, Any]:
    return {"name": name, "type": "number", "min": 0.0, "max": 1.0, "n_distinct": 9} | facts


def category(name: str, *texts: str) -> dict[str, Any]:
    distinct = {"categories": list(texts), "n_distinct": len(texts)}
    return {"name": name, "type": "category"} | distinct


DATASET = {
    "id": "ds_1",
    "n_rows": 10,
    "columns": [number(name) for name in ("x1", "x2", "y", "z")],
}
MIXED = DATASET | {
    "columns": [
        number("x"),
        category("colour", "blue", "red"),
        number("y"),
        number("w"),
        number("below", min=-1.0),
        number("nothing", max=0.0),
    ]
}


def spec_of(
    settings: Settings | None = None, dataset: dict[str, Any] = DATASET, **body: Any
) -> dict[str, Any]:
    request = FitRequest.model_validate({"dataset": "ds_1", "target": "y", "steps": 5} | body)
    return resolve(request, dataset, settings or Settings())


def places_of(
    settings: Settings | None = None, dataset: dict[str, Any] = DATASET, **body: Any
) -> list[tuple[str, str | None]]:
    with pytest.raises(InvalidInput) as refused:
        spec_of(settings, dataset, **body)
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
        (
            {"record": {"weights": True, "final_weights_only": True}},
            [("contradiction", "/record/final_weights_only")],
        ),
        (
            {"record": {"weights": True}, "steps": 10_000_000},
            [("too_long_trajectory", "/record/every")],
        ),
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
    dataset = DATASET | {"columns": [number("intercept"), number("y")]}
    body = {"dataset": "ds_1", "target": "y", "steps": 1}

    with pytest.raises(InvalidInput, match="rename it"):
        resolve(FitRequest.model_validate(body), dataset, Settings())
    unbiased = FitRequest.model_validate(body | {"model": {"kind": "linear", "bias": False}})
    assert resolve(unbiased, dataset, Settings())["features"] == ["intercept"]


def test_the_weight_column_is_no_feature() -> None:
    assert spec_of(dataset=MIXED, sample_weight="w")["features"] == [
        "x", "colour", "below", "nothing",
    ]  # fmt: skip


def test_a_category_is_an_indicator_a_text() -> None:
    weights = {"weight": [[1, 2, 3]], "bias": [0]}

    spec = spec_of(dataset=MIXED, features=["x", "colour"], init={"weights": weights})

    assert spec["features"] == ["x", "colour"]
    columns = [number("x"), category("colour", "blue", "red")]
    assert encode(spec["features"], columns, spec["model"]).features == (
        Feature("x"), Feature("colour", "blue"), Feature("colour", "red"),
    )  # fmt: skip


def test_a_polynomial_has_a_weight_a_term_and_not_too_many() -> None:
    model = {"kind": "polynomial", "degree": 2}
    weights = {"weight": [[1] * 5], "bias": [0]}
    features = ["x", "colour"]

    spec = spec_of(dataset=MIXED, features=["x"], model=model)
    assert spec["model"] == model | {"interactions": True, "bias": True}
    # x, blue, red, x^2, x*blue, x*red
    with pytest.raises(InvalidInput, match="1×6"):
        spec_of(dataset=MIXED, features=features, model=model, init={"weights": weights})
    wide = DATASET | {"columns": [number("y"), *(number(f"x{i}") for i in range(50))]}
    with pytest.raises(InvalidInput, match="more than 10000 terms"):
        spec_of(dataset=wide, features=None, model=model | {"degree": 5})


LABELLED = DATASET | {
    "columns": [
        number("x", n_distinct=10),
        category("colour", "blue", "red") | {"n_distinct": 2},
        category("size", "l", "m", "s") | {"n_distinct": 3},
        number("bit", n_distinct=2),
        number("y", min=-1.0, n_distinct=10),
        number("same", n_distinct=1),
    ]
}


@pytest.mark.parametrize(
    ("model", "target", "loss"),
    [
        ("linear", "y", "mse"),
        ("logistic", "colour", "bce"),
        ("logistic", "bit", "bce"),
        ("softmax", "size", "cross_entropy"),
        ("softmax", "x", "cross_entropy"),
    ],
)
def test_every_model_has_a_loss_of_its_own(model: str, target: str, loss: str) -> None:
    spec = spec_of(dataset=LABELLED, model={"kind": model}, target=target)

    assert spec["loss"]["kind"] == loss
    assert resolve(FitRequest.model_validate(spec), LABELLED, Settings()) == spec


def test_softmax_has_weights_for_each_class() -> None:
    body: dict[str, Any] = {"model": {"kind": "softmax"}, "target": "size", "features": ["x"]}
    weights = {"weight": [[1.0], [2.0], [3.0]], "bias": [0.0, 0.0, 0.0]}

    assert spec_of(dataset=LABELLED, **body, init={"weights": weights})
    assert places_of(
        dataset=LABELLED, **body, init={"weights": {"weight": [[1.0]], "bias": [0.0] * 3}}
    ) == [("wrong_shape", "/init/weights/weight")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": {"kind": "logistic"}}, ("wrong_classes", "/target")),
        ({"model": {"kind": "logistic"}, "target": "size"}, ("wrong_classes", "/target")),
        (
            {"model": {"kind": "softmax"}, "target": ["size", "colour"]},
            ("several_targets", "/target"),
        ),
        ({"loss": {"kind": "bce"}, "target": "bit"}, ("unsuitable_loss", "/loss")),
        ({"loss": {"kind": "poisson"}}, ("negative_target", "/target")),
        (
            {
                "model": {"kind": "mlp", "hidden": [4], "output": "tanh"},
                "loss": {"kind": "bce"},
                "target": "bit",
            },
            ("unsuitable_output", "/model/output"),
        ),
        (
            {"model": {"kind": "mlp", "hidden": [4], "batch_norm": True}, "batch_size": 3},
            ("batch_of_one", "/batch_size"),
        ),
        ({"features": ["same"], "standardize": True}, ("constant_column", "/standardize")),
        ({"early_stopping": {}}, ("no_validation", "/early_stopping/monitor")),
        (
            {"validation": {"fraction": 0.5, "stratify": True}},
            ("no_classes", "/validation/stratify"),
        ),
        ({"validation": {"fraction": 0.99}}, ("no_training_rows", "/validation/fraction")),
        (
            {"model": {"kind": "linear", "bias": False}, "standardize": True},
            ("bias_needed", "/model/bias"),
        ),
        ({"loss": {"kind": "hinge"}, "target": "x"}, ("wrong_classes", "/target")),
        (
            {
                "model": {"kind": "softmax"},
                "target": "size",
                "loss": {"kind": "cross_entropy", "class_weight": [1, 2]},
            },
            ("wrong_class_weight", "/loss/class_weight"),
        ),
        (
            {
                "optimizer": {"kind": "adagrad"},
                "scheduler": {"kind": "cyclic", "base_lr": 0, "max_lr": 1},
            },
            ("no_momentum", "/scheduler/cycle_momentum"),
        ),
        (
            {
                "optimizer": {"kind": "sgd", "momentum": 0.5},
                "scheduler": {
                    "kind": "one_cycle", "max_lr": 1, "total_steps": 4, "interval": "step",
                },
            },
            ("short_cycle", "/scheduler/total_steps"),
        ),
    ],
)  # fmt: skip
def test_parts_that_do_not_suit_each_other_are_refused(
    body: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert places_of(dataset=LABELLED, **body) == [expected]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"target": "colour"}, ("not_numbers", "/target")),
        ({"target": ["y", "colour"]}, ("not_numbers", "/target/1")),
        ({"sample_weight": "colour"}, ("not_numbers", "/sample_weight")),
        ({"sample_weight": "below"}, ("unusable_weights", "/sample_weight")),
        ({"sample_weight": "nothing"}, ("unusable_weights", "/sample_weight")),
        ({"sample_weight": "typo"}, ("unknown_column", "/sample_weight")),
        ({"sample_weight": "y"}, ("column_used_twice", "/sample_weight")),
        ({"sample_weight": "x", "features": ["x"]}, ("column_used_twice", "/features/0")),
    ],
)
def test_columns_of_the_wrong_kind_are_refused(
    body: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert places_of(dataset=MIXED, **body) == [expected]


def test_an_indicator_must_not_be_named_like_a_column() -> None:
    columns = [number("c=a"), category("c", "a", "b"), number("y")]

    assert places_of(dataset=DATASET | {"columns": columns}) == [("ambiguous_feature", "/features")]


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


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ({"target": "size"}, "no loss of a linear model suits it; these models' do: softmax"),
        ({"target": "bit", "loss": {"kind": "cross_entropy"}}, "these do: mse, mae"),
        ({"target": "colour"}, "these losses suit it: hinge"),
        ({"model": {"kind": "mlp", "hidden": [4]}, "target": "size"}, "suit it: cross_entropy"),
        ({"loss": {"kind": "hinge"}, "target": "x"}, "suit it: mse, mae, huber, smooth_l1"),
        ({"model": {"kind": "logistic"}, "target": ["x", "y"]}, "do: linear (mse"),
    ],
)
def test_a_loss_that_does_not_suit_is_refused_with_those_that_do(
    body: dict[str, Any], advice: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(advice)):
        spec_of(dataset=LABELLED, **body)


def test_a_device_that_no_worker_has_is_refused() -> None:
    assert places_of(device="cuda") == [("no_such_device", "/device")]
    assert spec_of(Settings(gpu=True), device="cuda")["device"] == "cuda"


def test_what_a_device_does_not_compute_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        spec_of(Settings(gpu=True), device="cuda", tolerance=0.1, optimizer={"kind": "lbfgs"})

    places = [(place.code, place.pointer) for place in caught.value.places]
    assert places == [("not_on_device", "/tolerance"), ("not_on_device", "/optimizer/kind")]
