"""What a range test's request means on its dataset, and every way in which it means nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InvalidInput
from service.lr_range import refuse_unusable, resolve_range_test
from service.schemas.lr_range import LrRangeRequest
from service.settings import Settings
from tests.service.test_resolution import DATASET
from tests.workers.engine.given import noisy_plane, specification
from workers.engine import LrRange, SpecificationError, lr_range_test
from workers.engine.lr_range import LrRangeResult

RULE = {
    "start_lr": 1e-7,
    "end_lr": 10.0,
    "num_iter": 100,
    "step_mode": "exp",
    "smooth_f": 0.05,
    "diverge_th": 5.0,
}
BUSY: dict[str, Any] = {
    "optimizer": {"kind": "adagrad", "lr": 123.0},
    "scheduler": {"kind": "one_cycle", "max_lr": 1, "total_steps": 1, "interval": "step"},
    "early_stopping": {"monitor": "validation_loss"},
    "tolerance": 1e-3,
    "record": {"weights": True, "gradients": True, "final_weights_only": True},
    "validation": {"dataset": "ds_elsewhere"},
    "limits": {"max_seconds": 5},
    "reuse": True,
    "tags": ["a"],
    "metadata": {"course": "ml"},
}


def request(**body: Any) -> LrRangeRequest:
    return LrRangeRequest.model_validate({"dataset": "ds_1", "target": "y"} | body)


def spec_of(settings: Settings | None = None, **body: Any) -> dict[str, Any]:
    given = request(**body)
    refuse_unusable(given)
    return resolve_range_test(given, DATASET, settings or Settings())


def places_of(settings: Settings | None = None, **body: Any) -> list[tuple[str, str | None]]:
    with pytest.raises(InvalidInput) as refused:
        spec_of(settings, **body)
    return [(place.code, place.pointer) for place in refused.value.places]


def test_every_default_is_filled_in_and_the_spec_can_be_posted_again() -> None:
    spec = spec_of()

    assert {name: spec[name] for name in RULE} == RULE
    assert (spec["features"], spec["loss"]) == (["x1", "x2", "z"], {"kind": "mse"})
    assert spec["epochs"] is spec["steps"] is None
    assert spec_of(**spec) == spec


@pytest.mark.parametrize("length", [{}, {"steps": 5}, {"epochs": 2}, {"steps": 5, "epochs": 2}])
def test_a_fits_body_is_taken_as_it_is(length: dict[str, Any]) -> None:
    # given all that would be refused of a fit, or that only a longer descent has
    spec = spec_of(**BUSY, **length)

    # then it stays as it was sent
    assert spec["scheduler"]["total_steps"] == 1
    assert spec["record"]["final_weights_only"]
    assert spec["validation"] == {"dataset": "ds_elsewhere"}
    assert (spec["steps"], spec["epochs"]) == (length.get("steps"), length.get("epochs"))


def test_the_defaults_are_the_engines() -> None:
    rule = LrRange()

    assert {name: getattr(rule, name) for name in RULE} == RULE


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"start_lr": 1.0, "end_lr": 1.0}, [("rates_must_rise", "/end_lr")]),
        ({"end_lr": 1e-8}, [("rates_must_rise", "/end_lr")]),
        ({"start_lr": 20.0}, [("rates_must_rise", "/start_lr")]),
        ({"end_lr": 1e20}, [("rate_out_of_range", "/end_lr")]),
        ({"start_lr": 1e-20}, [("rate_out_of_range", "/start_lr")]),
        ({"start_lr": 1e-300, "dtype": "float64"}, [("rate_out_of_range", "/start_lr")]),
        (
            {"init": {"fit": "fit_1", "optimizer_state": True}},
            [("no_optimizer_state", "/init/optimizer_state")],
        ),
        ({"num_iter": 10_000_001}, [("too_many_steps", "/num_iter")]),
        ({"target": "Y"}, [("unknown_column", "/target")]),
        ({"batch_size": 11, "drop_last": True}, [("no_batch", "/batch_size")]),
        ({"validation": {"fraction": 0.99}}, [("no_training_rows", "/validation/fraction")]),
        (
            {"init": {"weights": {"weight": [[1, 2]], "bias": [0]}}},
            [("wrong_shape", "/init/weights/weight")],
        ),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(
    body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert places_of(**body) == expected


def test_the_limit_counts_iterations_and_no_steps() -> None:
    few = Settings(max_steps=9)

    assert spec_of(few, num_iter=9, steps=1_000, epochs=1_000)
    assert places_of(few, num_iter=10) == [("too_many_steps", "/num_iter")]


@pytest.mark.parametrize(
    "body",
    [
        {"num_iter": 1},
        {"num_iter": 2.5},
        {"start_lr": 0},
        {"start_lr": -1},
        {"end_lr": float("inf")},
        {"step_mode": "log"},
        {"smooth_f": 1},
        {"smooth_f": -0.1},
        {"diverge_th": 0},
        {"diverge_th": "5"},
        {"end_rl": 1},
        {"optimizer": {"kind": "sgd", "lr": -1}},
    ],
)
def test_the_schema_refuses(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**body)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_service_and_the_engine_have_room_for_the_same_rates(dtype: str) -> None:
    # given the widest range that the service lets through
    most = {"float32": 1.8446742e19, "float64": 1.3407807e154}[dtype]
    widest: dict[str, Any] = {"dtype": dtype, "start_lr": 1.0001 / most, "end_lr": most}

    # then the engine takes it, and both refuse any wider one
    assert spec_of(**widest)
    assert engine_result(dtype, 1.0001 / most, most).stop_reason == "diverged"
    for wider in ({"start_lr": 0.9999 / most}, {"end_lr": 1.0001 * most}):
        (name,) = wider
        assert places_of(**widest | wider) == [("rate_out_of_range", f"/{name}")]
        with pytest.raises(SpecificationError) as refused:
            engine_result(dtype, **{"start_lr": 1.0, "end_lr": 10.0} | wider)
        assert refused.value.pointer == f"/{name}"


def engine_result(dtype: str, start_lr: float, end_lr: float) -> LrRangeResult:
    rule = LrRange(start_lr=start_lr, end_lr=end_lr)
    return lr_range_test(specification(dtype=dtype), rule, noisy_plane())
