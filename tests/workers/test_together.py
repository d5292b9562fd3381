"""Fits that wait together are computed together, and are what they are alone."""

import itertools
from typing import Any

import pytest

from service import datasets, fits, lifecycle, submission
from service.context import Context
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from tests.installations import ON_EACH
from tests.service.conftest import OWNER
from workers import together
from workers.engine import Specification
from workers.runner import run_waiting

pytestmark = ON_EACH

LINE: dict[str, Any] = {"target": "y", "steps": 30, "dtype": "float64"}
KINDS: list[dict[str, Any]] = [
    {"optimizer": {"kind": "sgd", "lr": 0.05}},
    {"optimizer": {"kind": "sgd", "lr": 0.02}, "seed": 3},
    {"seed": {"init": 1, "shuffle": 2, "split": 3}},
    {"init": {"weights": {"weight": [[-3.0]], "bias": [-2.0]}}},
    {"init": {"kind": "normal"}, "dtype": "float32"},
    {"optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}},
    {"optimizer": {"kind": "sgd", "lr": 1e4}, "steps": 400},
    {"optimizer": {"kind": "adam"}},
    {"model": {"kind": "mlp", "hidden": [3]}},
    {"standardize": True},
    {"record": {"weights": True}},
    {"validation": {"fraction": 0.25}},
    {"checks": [{"target": "final_loss", "expected": 0.0, "atol": 10.0}]},
]


@pytest.fixture
def dataset(context: Context) -> str:
    columns = {"x": [0.0, 1, 2, 3, 4, 5], "y": [1.0, 3, 5.5, 7, 8.5, 11]}
    made = datasets.create_inline_dataset(context, DatasetRequest(columns=columns), OWNER)
    return str(made["id"])


def submitted(context: Context, dataset: str, changes: dict[str, Any]) -> str:
    body = {"dataset": dataset, **LINE, **changes}
    return str(submission.submit(context, FitRequest.model_validate(body), owner=OWNER)["id"])


def told(context: Context, fit_id: str) -> dict[str, Any]:
    """All that a fit says, but for itself and for what the clock says."""
    fit = fits.get_fit(context, fit_id, OWNER)
    for name in ("id", "created_at", "started_at", "finished_at"):
        fit.pop(name)
    for name in ("seconds", "steps_per_second", "peak_memory_bytes"):
        fit["diagnostics"].pop(name)
    return fit


def test_each_is_what_it_is_alone(context: Context, dataset: str) -> None:
    # given fits of every kind, each alone
    alone = []
    for changes in KINDS:
        fit_id = submitted(context, dataset, changes)
        run_waiting(context, "fits.small")
        alone.append(told(context, fit_id))

    # when they wait together
    ids = [submitted(context, dataset, changes) for changes in KINDS]
    run_waiting(context, "fits.small")

    # then nothing differs, their artifacts neither
    assert [told(context, fit_id) for fit_id in ids] == alone
    assert {fit["status"] for fit in alone} == {"succeeded", "failed"}
    history = fits.read_artifact(context, ids[0], "history", OWNER)
    assert history["loss"].tolist() == alone[0]["loss_history"]["loss"]


def test_what_claims_share_makes_each_ones_specification(context: Context, dataset: str) -> None:
    for changes in KINDS:
        submitted(context, dataset, changes)
        submitted(context, dataset, {**changes, "seed": 9, "init": {"kind": "zeros"}})
    claims = lifecycle.claim_waiting(context, "fits.small", "worker")
    pairs = [
        (one, other)
        for one, other in itertools.permutations(claims, 2)
        if together._shared(one) == together._shared(other)
    ]

    assert len(pairs) > 2 * len(KINDS)
    for one, other in pairs:
        begun = Specification.from_mapping(one.spec).beginning_as(other.spec)
        assert repr(begun) == repr(Specification.from_mapping(other.spec))


def test_short_fits_of_least_squares_are_one_call(
    context: Context, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [submitted(context, dataset, {"seed": seed}) for seed in range(9)]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was computed by itself")

    monkeypatch.setattr("workers.fit_run.fit", never)
    run_waiting(context, "fits.small")

    assert {fits.get_fit(context, fit_id, OWNER)["status"] for fit_id in ids} == {"succeeded"}


def test_one_that_fails_harms_no_other(context: Context, dataset: str) -> None:
    # given two good fits, one whose squares are not safe, and one whose table is no longer there
    columns = {"x": [1.0, 2, 3, 4], "z": [1.0, 2, 3, 4.0000001], "y": [1.0, 2, 2, 5]}
    twins = datasets.create_inline_dataset(context, DatasetRequest(columns=columns), OWNER)["id"]
    columns = {"x": [1.0, 2, 3], "y": [1.0, 2, 2]}
    lost = datasets.create_inline_dataset(context, DatasetRequest(columns=columns), OWNER)["id"]
    ids = [submitted(context, one, {}) for one in (dataset, twins, lost, dataset)]
    context.storage.delete(datasets.find_row(context, lost, OWNER)["storage_key"])

    run_waiting(context, "fits.small")

    ended = [fits.get_fit(context, fit_id, OWNER) for fit_id in ids]
    assert [fit["status"] for fit in ended] == ["succeeded", "succeeded", "failed", "succeeded"]
    assert ended[2]["error"]["code"] == "internal_error"
    assert ended[1]["fingerprint"]["strategy"] == "kernels"
