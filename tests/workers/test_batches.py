"""What workers make of batches: each fit as it would be alone, whatever becomes of the others."""

from typing import Any

import pytest

from service import batches, fits, submission
from service.batch_submission import About, submit_batch
from service.context import Context
from service.schemas.batches import BatchRequest, Select
from service.schemas.fits import FitRequest
from service.schemas.lists import ListQuery
from service.sweeps import bodies_of
from tests.installations import ON_EACH
from tests.service.conftest import OWNER
from tests.workers.running import run_all

pytestmark = ON_EACH

COLUMNS = {"x": [-1.0, -0.5, 0.0, 0.5, 1.0], "y": [1.1, 2.2, 2.9, 4.1, 5.0]}
BASE: dict[str, Any] = {
    "dataset": {"columns": COLUMNS}, "target": "y", "steps": 30, "dtype": "float64",
}  # fmt: skip


def batched(context: Context, select: Select | None = None, **request: Any) -> dict[str, Any]:
    bodies = bodies_of(BatchRequest.model_validate(request))
    about = About(select=select or Select())
    return submit_batch(context, bodies, about, owner=OWNER, parse=FitRequest.model_validate)


def ended(context: Context, batch: dict[str, Any]) -> dict[str, Any]:
    while batches.get_batch(context, batch["id"], OWNER)["finished_at"] is None:
        run_all(context)
    return batches.get_batch(context, batch["id"], OWNER)


def members(context: Context, batch: dict[str, Any]) -> list[dict[str, Any]]:
    page = batches.list_fits_of(context, batch["id"], ListQuery(limit=1000), OWNER)
    return [*reversed(page.data)]


def numbers(fit: dict[str, Any]) -> dict[str, Any]:
    """All of a fit that its spec decides."""
    diagnostics = {
        name: value
        for name, value in fit["diagnostics"].items()
        if name not in ("seconds", "steps_per_second", "peak_memory_bytes")
    }
    names = (
        "status", "stop_reason", "weights", "coefficients", "final_loss", "loss_history",
        "metrics", "plots", "fingerprint", "error", "progress",
    )  # fmt: skip
    return {name: fit[name] for name in names} | {"diagnostics": diagnostics}


@pytest.mark.parametrize("strategy", ["auto", "kernels", "reference"])
def test_every_member_has_the_bits_that_it_gets_alone(context: Context, strategy: str) -> None:
    # given fits that share a shape, one that diverges, and some that share none of it
    grid = {
        "optimizer.lr": [0.01, 0.3, 50.0],
        "seed": [0, 1],
        "init": [{"kind": "default"}, {"weights": {"weight": [[-3]], "bias": [-2]}}],
    }
    base = BASE | {"strategy": strategy}
    batch = batched(context, base=base | {"steps": 400}, grid=grid)

    # when all have ended
    shown = ended(context, batch)

    # then those that diverge touch no other, and each is what it is alone
    assert shown["status"] == "succeeded"
    assert (shown["counts"]["succeeded"], shown["counts"]["failed"]) == (8, 4)
    for fit in members(context, batch):
        alone = submission.submit(context, FitRequest.model_validate(fit["spec"]), owner=OWNER)
        run_all(context)
        assert numbers(fit) == numbers(fits.get_fit(context, alone["id"], OWNER))


def test_members_of_every_shape_are_computed_as_they_would_be_alone(context: Context) -> None:
    bodies = [
        BASE,
        BASE | {"standardize": True, "penalty": {"l2": 0.1}},
        BASE | {"model": {"kind": "mlp", "hidden": [3]}, "optimizer": {"kind": "adam"}},
        BASE | {"dataset": {"columns": COLUMNS | {"y": ["a", "b", "a", "b", "a"]}},
                "model": {"kind": "logistic"}},
        BASE | {"validation": {"fraction": 0.4}, "batch_size": 2, "record": {"weights": True}},
    ]  # fmt: skip
    batch = batched(context, fits=bodies)

    assert ended(context, batch)["counts"]["succeeded"] == len(bodies)

    for fit in members(context, batch):
        alone = submission.submit(context, FitRequest.model_validate(fit["spec"]), owner=OWNER)
        run_all(context)
        assert numbers(fit) == numbers(fits.get_fit(context, alone["id"], OWNER))


def test_the_best_by_the_loss_of_held_out_rows(context: Context) -> None:
    # given fits of which the one with the largest penalty is the worst on new rows
    base = BASE | {"validation": {"fraction": 0.4}, "optimizer": {"kind": "sgd", "lr": 0.3}}
    select = Select(metric="validation.loss")
    batch = batched(context, select, base=base, grid={"penalty.l2": [5.0, 0.0, 1.0]})

    # when it ends
    best = ended(context, batch)["best"]

    # then the best has the least, which without a penalty is the mean squared error
    found = {fit["id"]: fit for fit in members(context, batch)}
    assert found[best["id"]]["spec"]["penalty"]["l2"] == 0.0
    mse = found[best["id"]]["metrics"]["validation"]["mse"]
    assert best["value"] == pytest.approx(mse, rel=1e-12)


def test_members_may_start_from_another_fit(context: Context) -> None:
    first = submission.submit(context, FitRequest.model_validate(BASE), owner=OWNER)
    run_all(context)
    init = {"fit": first["id"], "optimizer_state": True}
    base = BASE | {"init": init, "dataset": first["dataset"]["id"]}
    grid = {"optimizer.lr": [1e-3, 0.1]}

    batch = batched(context, base=base, grid=grid)
    ended(context, batch)

    whole = submission.submit(context, FitRequest.model_validate(BASE | {"steps": 60}), owner=OWNER)
    run_all(context)
    same, faster = members(context, batch)
    assert same["final_loss"] == fits.get_fit(context, whole["id"], OWNER)["final_loss"]
    assert faster["final_loss"] < same["final_loss"]
