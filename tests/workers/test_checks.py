"""Checks that come with a fit, and after its end, on fits that a worker made."""

from typing import Any

import numpy as np
import pytest

from service import checks, fits, lifecycle
from service.checks import check_fit, given_checks
from service.context import Context
from service.errors import Conflict, InvalidInput
from service.schemas.checks import ChecksRequest
from service.schemas.datasets import DatasetRequest
from tests.service.claiming import claim_one, finish_one
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import submit
from tests.workers.running import run_all

PLAIN = {"dtype": "float64", "init": {"kind": "zeros"}, "optimizer": {"kind": "sgd", "lr": 0.05}}
LOSS = {"target": "final_loss", "expected": 1.0}


@pytest.fixture
def table() -> DatasetRequest:
    """A line without noise."""
    return DatasetRequest(columns={"x": [0, 1, 2, 3], "y": [1, 3, 5, 7]})


def by_hand(n_steps: int) -> dict[str, Any]:
    """The textbook's loop in numpy: what a grader expects."""
    x, y = np.arange(4.0), 2 * np.arange(4.0) + 1
    w0 = w1 = 0.0
    losses, weights, biases = [], [], []
    for _ in range(n_steps):
        error = w0 + w1 * x - y
        losses.append(float((error**2).mean()))
        weights.append([[w1]])
        biases.append([w0])
        w0 -= 0.05 * 2 * error.mean()
        w1 -= 0.05 * 2 * (error * x).mean()
    return {"losses": losses, "weights": weights, "biases": biases, "w0": w0, "w1": w1}


def test_checks_that_come_with_a_fit_are_evaluated_at_its_end(
    context: Context, table: DatasetRequest
) -> None:
    # given a textbook's numbers, and one that is wrong from step 7 on
    right = by_hand(20)
    wrong = [loss * (1.001 if step >= 7 else 1) for step, loss in enumerate(right["losses"])]
    given = [
        {"target": "loss_history.loss", "expected": right["losses"], "points": 3},
        {"target": "loss_history.loss", "expected": wrong, "name": "wrong", "hidden": True},
        {"target": "coefficients.intercept", "expected": right["w0"]},
        {"target": "weights.weight", "expected": [[right["w1"]]]},
        {"target": "predictions", "expected": [right["w0"] + right["w1"] * x for x in range(4)]},
        {"target": "trajectory",
         "expected": {"weight": right["weights"], "bias": right["biases"]}},
    ]  # fmt: skip
    record = {"weights": True}
    fit = submit(context, table, steps=20, checks=given, record=record, **PLAIN)
    assert {check["status"] for check in fit["checks"]} == {"not_evaluated"}

    run_all(context)

    ended = fits.get_fit(context, fit["id"], OWNER)
    assert ended["status"] == "succeeded"
    statuses = [check["status"] for check in ended["checks"]]
    assert statuses == ["passed", "failed", "passed", "passed", "passed", "passed"]
    assert ended["checks"][1]["first_step"] == 7
    told = given_checks(context, fit["id"], OWNER)
    assert (told["score"], told["max_score"], told["passed"]) == (7, 8, False)
    assert told["checks"] == ended["checks"]


def test_later_checks_give_what_earlier_ones_do(context: Context, table: DatasetRequest) -> None:
    right = by_hand(20)
    given = [
        {"target": "loss_history.loss", "expected": right["losses"]},
        {"target": "weights.bias", "expected": [right["w0"]]},
        {"target": "metrics.train.mse", "expected": 1.0},
    ]
    fit = submit(context, table, steps=20, checks=given, **PLAIN)
    run_all(context)

    later = check_fit(context, fit["id"], ChecksRequest.model_validate({"checks": given}), OWNER)

    assert later["checks"] == fits.get_fit(context, fit["id"], OWNER)["checks"]
    assert [check["status"] for check in later["checks"]] == ["passed", "passed", "failed"]


def test_a_fit_that_diverged_is_checked_with_what_it_has(
    context: Context, table: DatasetRequest
) -> None:
    loose = {"target": "loss_history.loss", "expected": [21.0, 0.5], "rtol": 0.1}
    fit = submit(
        context, table, steps=400, checks=[LOSS, loose],
        **PLAIN | {"optimizer": {"kind": "sgd", "lr": 1e3}},
    )  # fmt: skip
    run_all(context)

    ended = fits.get_fit(context, fit["id"], OWNER)

    assert (ended["status"], ended["stop_reason"]) == ("failed", "diverged")
    assert [check["status"] for check in ended["checks"]] == ["failed", "failed"]
    assert ended["checks"][1]["first_step"] == 1


@pytest.mark.parametrize(
    ("error", "status", "score"),
    [
        ({"category": "server", "message": "a crash"}, "not_evaluated", None),
        ({"category": "user", "message": "no such"}, "failed", 0),
    ],
)
def test_the_services_error_is_never_a_score(
    context: Context,
    table: DatasetRequest,
    error: dict[str, Any],
    status: str,
    score: float | None,
) -> None:
    fit = submit(context, table, checks=[LOSS])
    claim = claim_one(context, fit["id"], "worker")
    assert claim is not None
    told_of = {"code": "any", **error}
    finish_one(context, claim, status="failed", stop_reason="error", result=None, error=told_of)

    for told in (
        given_checks(context, fit["id"], OWNER),
        check_fit(context, fit["id"], ChecksRequest.model_validate({"checks": [LOSS]}), OWNER),
    ):
        assert (told["checks"][0]["status"], told["score"]) == (status, score)
        assert error["message"] in told["checks"][0]["reason"]


def test_a_cancelled_fit_has_no_score(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table, checks=[LOSS])
    lifecycle.cancel(context, fit["id"], OWNER)

    assert given_checks(context, fit["id"], OWNER)["score"] is None


def test_a_fit_that_waits_cannot_be_checked(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)

    with pytest.raises(Conflict, match="queued"):
        check_fit(context, fit["id"], ChecksRequest.model_validate({"checks": [LOSS]}), OWNER)


@pytest.mark.parametrize(
    ("target", "spec", "code"),
    [
        ("weights.weights", {}, "unknown_target"),
        ("coefficients.z", {}, "unknown_target"),
        ("coefficients.x", {"model": {"kind": "mlp", "hidden": [2]}}, "unknown_target"),
        ("metrics.validation.r2", {}, "unknown_target"),
        ("metrics.train.accuracy", {}, "unknown_target"),
        ("trajectory", {}, "unknown_target"),
        ("loss_history.loss", {"record": {"final_weights_only": True}}, "unknown_target"),
        ("trajectory", {"record": {"weights": True}}, "not_comparable"),
    ],
)
def test_what_the_fit_cannot_have_is_refused(
    context: Context, table: DatasetRequest, target: str, spec: dict[str, Any], code: str
) -> None:
    bad = {"target": target, "expected": 1.0}

    # when it comes with the fit, or later
    with pytest.raises(InvalidInput) as early:
        submit(context, table, checks=[LOSS, bad], **spec)
    fit = submit(context, table, **spec)
    run_all(context)
    request = ChecksRequest.model_validate({"checks": [LOSS, bad]})
    with pytest.raises(InvalidInput) as late:
        checks.check_fit(context, fit["id"], request, OWNER)

    part = "expected" if code == "not_comparable" else "target"
    for refused in (early, late):
        (place,) = refused.value.places
        assert (place.code, place.pointer) == (code, f"/checks/1/{part}")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("weights", "as a whole; it has weights.bias, weights.weight"),
        ("loss_history", "it has loss_history.grad_norm, loss_history.loss, loss_history.lr"),
        ("loss_history.los", "did you mean 'loss_history.loss'?"),
    ],
)
def test_a_target_that_is_misspelt_or_short_is_told_what_there_is(
    context: Context, table: DatasetRequest, target: str, told: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        submit(context, table, checks=[{"target": target, "expected": 1.0}])

    assert refused.value.detail.endswith(told)


@pytest.mark.parametrize("target", ["coefficients.no.x", "metrics.train.accuracy", "predictions"])
def test_classes_have_checks_too(context: Context, target: str) -> None:
    labelled = DatasetRequest(
        columns={"x": [0, 1, 2, 3], "y": ["no", "no", "yes", "yes"]},
    )
    expected: Any = ["no", "no", "yes", "yes"] if target == "predictions" else 1.0
    check = {"target": target, "expected": expected, "atol": 100.0}
    fit = submit(
        context, labelled, steps=300, model={"kind": "softmax"}, checks=[check], standardize=True,
        optimizer={"kind": "sgd", "lr": 0.5},
    )  # fmt: skip

    run_all(context)

    assert [c["status"] for c in fits.get_fit(context, fit["id"], OWNER)["checks"]] == ["passed"]


@pytest.mark.parametrize(
    "expected", [True, None, [1, "a", None], [[1, 2], [3]], [1, True], {"a": [1, [2]]}, 1e400]
)
def test_what_cannot_be_compared_is_refused(expected: Any) -> None:
    with pytest.raises(ValueError, match=r"ragged|not_comparable|finite"):
        ChecksRequest.model_validate({"checks": [{"target": "final_loss", "expected": expected}]})
