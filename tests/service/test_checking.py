"""What checks come to, beside numpy's own rule."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.checking import Found, evaluate, summary
from service.gradescope import results
from service.schemas.checks import Check

HISTORY = {"step": np.array([0, 5, 10, 15]), "loss": np.array([4.0, 2.0, 1.0, 0.5])}
WEIGHTS = {"weight": np.array([[1.5, -2.0]], np.float32), "bias": np.array([0.25], np.float32)}
TRAJECTORY = {
    "step": np.array([0, 5]), "weight": np.array([[[0.0, 1.0]], [[2.0, 3.0]]]),
    "bias": np.array([[0.0], [1.0]]), "gradients.bias": np.zeros((2, 1)),
}  # fmt: skip
RESULT = {
    "final_loss": 0.5,
    "coefficients": {"intercept": 0.25, "x": 1.5, "z.1": -2.0},
    "metrics": {"train": {"r2": 0.9, "roc_auc": None}, "validation": None},
}
ARRAYS: Mapping[str, Any] = {"history": HISTORY, "weights": WEIGHTS, "trajectory": TRAJECTORY}


def outcome(target: str, expected: Any, **changes: Any) -> dict[str, Any]:
    check = Check.model_validate({"target": target, "expected": expected} | changes)
    found = Found(RESULT | changes.pop("result", {}), ARRAYS.__getitem__, lambda: np.array([1, 2]))
    (one,) = evaluate([check.model_dump()], found)
    return one


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("final_loss", 0.5),
        ("loss_history.loss", [4.0, 2.0, 1.0, 0.5]),
        ("weights.weight", [[1.5, -2]]),
        ("weights.bias", [0.25]),
        ("coefficients.x", 1.5),
        ("coefficients.z.1", -2.0),
        ("metrics.train.r2", 0.9),
        ("predictions", [1, 2]),
        ("trajectory", {"weight": [[[0, 1]], [[2, 3]]], "bias": [[0], [1]]}),
    ],
)
def test_each_target_passes_with_its_own_numbers(target: str, expected: Any) -> None:
    found = outcome(target, expected)

    assert (found["status"], found["max_abs_difference"]) == ("passed", 0.0)
    assert found["first_step"] is None


def test_a_history_names_the_first_step_that_leaves_the_tolerance() -> None:
    # given a history of every fifth step
    found = outcome("loss_history.loss", [4.0, 2.0, 1.25, 0.0], rtol=0.1, atol=0.0)

    assert (found["status"], found["first_step"], found["index"]) == ("failed", 10, [3])
    assert found["max_abs_difference"] == 0.5
    assert (
        "2 of 4 entries differ; at [3] 0.5 was found where 0.0 ± 0 is expected" in found["reason"]
    )


def test_a_trajectory_names_the_array_and_the_step() -> None:
    found = outcome("trajectory", {"weight": [[[0, 1]], [[2, 3.5]]], "bias": [[0], [1.25]]})

    assert (found["status"], found["first_step"]) == ("failed", 5)
    assert found["index"] == ["weight", 1, 0, 1]


@pytest.mark.parametrize(
    ("target", "expected", "reason", "first_step"),
    [
        ("loss_history.loss", [4.0, 2.0], "the shape is 4, not 2", 10),
        ("loss_history.loss", [4.0] * 5, "the shape is 4, not 5", 5),
        ("loss_history.loss", [9.0, 2.0], "the shape is 4, not 2", 0),
        ("loss_history.loss", [4.0, 2.0, 1.0, 0.5, 0.25], "the shape is 4, not 5", None),
        ("weights.weight", [1.5, -2.0], "the shape is 1×2, not 2", None),
        ("final_loss", [0.5], "the shape is a single number, not 1", None),
        ("trajectory", {"weight": [[[0, 1]], [[2, 3]]]}, "'bias', 'weight', not 'weight'", None),
        ("metrics.train.roc_auc", 0.5, "not finite, or not there", None),
    ],
)
def test_another_shape_or_none_fails(
    target: str, expected: Any, reason: str, first_step: int | None
) -> None:
    found = outcome(target, expected)

    assert (found["status"], found["first_step"]) == ("failed", first_step)
    assert reason in found["reason"]


def test_classes_are_compared_as_they_are_written() -> None:
    check = Check.model_validate({"target": "predictions", "expected": ["yes", "no"]}).model_dump()

    def status(*said: str) -> dict[str, Any]:
        found = Found(RESULT, ARRAYS.__getitem__, lambda: np.array(said, object))
        return evaluate([check], found)[0]

    assert status("yes", "no")["status"] == "passed"
    failed = status("yes", "yes")
    assert (failed["status"], failed["index"]) == ("failed", [1])
    assert "'yes' was found where 'no' is expected" in failed["reason"]


@given(
    st.lists(st.tuples(*[st.floats(-10, 10, width=32)] * 2), min_size=1, max_size=9),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_rule_is_numpys(pairs: list[tuple[float, float]], rtol: float, atol: float) -> None:
    actual, expected = np.array(pairs).T
    check = {"target": "predictions", "expected": expected.tolist(), "rtol": rtol, "atol": atol}

    found = Found(RESULT, ARRAYS.__getitem__, lambda: actual)
    (one,) = evaluate([Check.model_validate(check).model_dump()], found)

    close = np.isclose(actual, expected, rtol, atol).all()
    assert one["status"] == ("passed" if close else "failed")
    assert one["max_abs_difference"] == np.abs(actual - expected).max()


def test_the_score_is_the_points_of_what_passed() -> None:
    found = [outcome("final_loss", 0.5, points=2), outcome("final_loss", 1, points=3)]

    assert summary(found)["score"] == 2
    assert summary(found)["max_score"] == 5
    assert summary(found)["passed"] is False


def test_gradescope_gets_no_score_for_what_was_not_evaluated() -> None:
    passed, failed = outcome("final_loss", 0.5, hidden=True), outcome("final_loss", 1, name="loss")
    unknown = passed | {"status": "not_evaluated"}

    told = results(summary([passed, failed]))
    assert told["score"] == 1
    assert [test["score"] for test in told["tests"]] == [1, 0]
    assert [test["status"] for test in told["tests"]] == ["passed", "failed"]
    assert [test["visibility"] for test in told["tests"]] == ["hidden", "visible"]
    assert [test["name"] for test in told["tests"]] == ["final_loss", "loss"]
    told = results(summary([unknown, failed]))
    assert "score" not in told
    assert "score" not in told["tests"][0]
