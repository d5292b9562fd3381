"""A fit that takes too much memory ends alone: the process that computes it goes on."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from service import fits, submission
from service.context import Context
from service.kinds import LR_RANGE_TEST
from service.schemas.datasets import DatasetRequest
from service.schemas.lr_range import LrRangeRequest
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_lifecycle import submit
from tests.workers.running import run_all
from workers.memory_bound import MemoryBound, TooMuchMemory, lacks_memory
from workers.peak_memory import forget_peak
from workers.runner import warm_up
from workers.runs import Watch

MIB = 1024**2
MOST_BYTES = 64 * MIB
WIDE = {"kind": "mlp", "hidden": [300, 300]}
ROWS = {"kind": "linear", "seed": 0}
MANY_ROWS = {"generator": ROWS | {"n": 60_000, "coef": [1.0] * 10}}
CLOUDS = {"kind": "blobs", "centers": 300, "dimensions": 2, "n": 30_000, "seed": 0}
MUCH_DATA = {"generator": ROWS | {"n": 100_000, "coef": [1.0] * 100}}
# By the compiled loops, by torch, before there are any steps, and after the last one.
TOO_LARGE: dict[str, dict[str, Any]] = {
    "trajectory": {"model": WIDE, "record": {"weights": True}, "steps": 300, "dtype": "float64"},
    "batch": {"dataset": MANY_ROWS, "model": WIDE, "strategy": "reference"},
    "design": {"dataset": MUCH_DATA},
    # Its steps take a few rows at a time, and its metrics all rows' scores of all classes.
    "metrics": {
        "dataset": {"generator": CLOUDS}, "loss": {"kind": "cross_entropy"}, "batch_size": 64,
        "model": {"kind": "mlp", "hidden": [5]},
    },
    # All steps fit in, but not their weights as one array, and as a file.
    "artifacts": {"model": WIDE, "record": {"weights": True}, "steps": 50, "dtype": "float64"},
}  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {},
    {"optimizer": {"kind": "adam"}},
    {"optimizer": {"kind": "lbfgs"}},
    {"model": {"kind": "mlp", "hidden": [5]}, "batch_size": 2},
    {"strategy": "reference"},
]


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """As a worker's process before its first fit."""
    warm_up()


@pytest.fixture
def bounded(context: Context) -> Context:
    """The same service, whose fits may take less than those that wait were let in for."""
    return bounded_by(context, MOST_BYTES)


def bounded_by(context: Context, most_bytes: int) -> Context:
    settings = context.settings.model_copy(update={"max_fit_bytes": most_bytes})
    return replace(context, settings=settings)


def run(context: Context, fit: dict[str, Any]) -> dict[str, Any]:
    run_all(context)
    return fits.get_fit(context, fit["id"], OWNER)


def numbers(fit: dict[str, Any]) -> dict[str, Any]:
    """What the fit computed, to the last bit."""
    assert fit["status"] == "succeeded", fit["error"]
    return {name: fit[name] for name in ("weights", "loss_history", "metrics", "final_loss")}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_fit_past_the_bound_fails_and_its_process_computes_the_next_one(
    context: Context, bounded: Context, table: DatasetRequest, name: str
) -> None:
    undisturbed = run(context, submit(context, table))

    failed = run(bounded, submit(context, table, **TOO_LARGE[name]))
    after = run(bounded, submit(context, table))

    assert (failed["status"], failed["stop_reason"], failed["attempt"]) == ("failed", "error", 1)
    assert (failed["error"]["code"], failed["error"]["category"]) == ("out_of_memory", "user")
    assert f"{MOST_BYTES} bytes (THALWEG_MAX_FIT_BYTES)" in failed["error"]["message"]
    assert "batch_size" in failed["error"]["hint"]
    assert numbers(after) == numbers(undisturbed)


def test_a_fit_past_the_bound_keeps_nothing(
    context: Context, bounded: Context, table: DatasetRequest
) -> None:
    before = [*stored(context)]

    failed = run(bounded, submit(context, table, **TOO_LARGE["artifacts"]))

    assert failed["error"]["code"] == "out_of_memory"
    tables = [key for key in stored(context) if key.startswith("datasets/")]
    assert sorted(stored(context)) == sorted([*before, *tables])


def test_a_fit_past_the_bound_harms_none_that_is_claimed_with_it(
    context: Context, bounded: Context, table: DatasetRequest
) -> None:
    # given short fits that are one call of the engine, and one that takes too much among them
    undisturbed = run(context, submit(context, table))
    changes: list[dict[str, Any]] = [{}, {}, TOO_LARGE["trajectory"], {}]
    waiting = [submit(context, table, **change)["id"] for change in changes]

    # when all of them are computed
    run_all(bounded)

    # then it alone fails
    ended = [fits.get_fit(context, fit_id, OWNER) for fit_id in waiting]
    assert ended.pop(2)["error"]["code"] == "out_of_memory"
    assert [numbers(fit) for fit in ended] == [numbers(undisturbed)] * 3


def test_a_range_test_past_the_bound_fails(context: Context, bounded: Context) -> None:
    body = {"dataset": MANY_ROWS, "target": "y", "model": WIDE, "strategy": "reference"}
    request = LrRangeRequest.model_validate(body)
    test = submission.submit(context, request, owner=OWNER)

    run_all(bounded)

    failed = fits.get_fit(context, test["id"], OWNER, LR_RANGE_TEST)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "out_of_memory")


def test_where_the_machine_has_no_more_it_is_not_the_users_fault(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> bool:
        raise MemoryError

    fit = submit(context, table, strategy="reference", steps=100_000)
    with monkeypatch.context() as patched:
        patched.setattr(Watch, "should_stop", full)
        failed = run(context, fit)

    assert (failed["status"], failed["attempt"]) == ("failed", 1)
    assert (failed["error"]["code"], failed["error"]["category"]) == ("out_of_memory", "server")
    assert "the workers more memory" in failed["error"]["hint"]


@pytest.mark.parametrize("changes", KINDS)
def test_a_bound_that_is_not_reached_changes_no_bit(
    context: Context, table: DatasetRequest, changes: dict[str, Any]
) -> None:
    free = run(context, submit(context, table, **changes))

    within = run(bounded_by(context, 512 * MIB), submit(context, table, **changes))

    assert numbers(within) == numbers(free)


def test_the_bound_is_one_of_growth() -> None:
    forget_peak()
    bound = MemoryBound(MOST_BYTES)

    bound.look()
    assert np.ones(2 * MOST_BYTES, np.uint8).all()

    time.sleep(0.1)
    with pytest.raises(TooMuchMemory):
        bound.look()
    MemoryBound(None).look()


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: bytearray(2**50),
        lambda: np.empty(2**50),
        lambda: torch.empty(2**50),
        lambda: pa.allocate_buffer(2**50),
    ],
    ids=["python", "numpy", "torch", "arrow"],
)
def test_what_each_library_says_is_known(allocate: Callable[[], Any]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        allocate()

    assert lacks_memory(raised.value)


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (RuntimeError("std::bad_alloc"), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
    ids=repr,
)
def test_other_errors_are_others(error: Exception, lacks: bool) -> None:
    assert lacks_memory(error) is lacks
