"""The estimate of a fit's memory, beside what a worker's process takes for it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from service import datasets
from service.context import Context
from service.datasets import find_row
from service.estimates import estimate
from service.resolution import resolve
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from tests.service.conftest import OWNER
from workers.allocation import ONE_HEAP

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc"),
]

MIB = 1024**2
# What a process loads of its libraries' code as it first needs it, and what heaps keep of noise.
_LOADED_BYTES = 96 * MIB
_FEW_ROWS = 64

WIDE = {"kind": "mlp", "hidden": [256, 256]}
PLAIN = {"strategy": "reference", "steps": 4}
# What most of the memory is of; rows and columns, and the fit.
FITS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "activations": (20_000, 8, {"model": WIDE, **PLAIN}),
    "masks": (20_000, 8, {"model": WIDE | {"dropout": 0.2}, **PLAIN}),
    "norms": (
        20_000, 8,
        {"model": WIDE | {"batch_norm": True, "dropout": 0.2}, "strategy": "large", "steps": 3},
    ),
    "slopes": (20_000, 8, {"model": WIDE | {"activation": "gelu"}, **PLAIN}),
    "rows, in closed form": (100_000, 50, {"steps": 9}),
    "rows, in compiled loops": (100_000, 50, {"loss": {"kind": "huber"}, "steps": 9}),
    "rows, split and scaled": (
        100_000, 50, {"standardize": True, "validation": {"fraction": 0.25}, **PLAIN},
    ),
    "parameters": (
        200, 1_000,
        {
            "model": {"kind": "mlp", "hidden": [2_000, 1_000]},
            "optimizer": {"kind": "adam"}, **PLAIN,
        },
    ),
    "search": (
        200, 400,
        {
            "model": {"kind": "mlp", "hidden": [400, 400]}, "steps": 3,
            "optimizer": {"kind": "lbfgs", "history_size": 50},
        },
    ),
    "trajectory": (
        65, 100,
        {
            "model": {"kind": "mlp", "hidden": [100]}, "strategy": "reference", "steps": 500,
            "record": {"weights": True, "gradients": True},
        },
    ),
    "history": (65, 3, {"loss": {"kind": "huber"}, "steps": 1_000_000}),
}  # fmt: skip
# What a heap has of these depends on what it had before.
OF_MANY_PIECES = ("activations", "masks", "norms", "slopes", "search")


def body_of(context: Context, n_rows: int, n_columns: int, changes: dict[str, Any]) -> Any:
    """A fit to so many rows of a plane."""
    plane = {"kind": "linear", "seed": 0, "n": n_rows, "coef": [1.0] * n_columns}
    table = DatasetRequest.model_validate({"generator": plane})
    made = datasets.create_inline_dataset(context, table, OWNER)
    return {"dataset": made["id"], "target": "y", **changes}


def estimated(context: Context, body: dict[str, Any]) -> int:
    request, row = FitRequest.model_validate(body), find_row(context, body["dataset"], OWNER)
    spec = resolve(request, row, context.settings)
    return int(estimate(request, spec, row, None)["memory_bytes"])


class Worker:
    """A process like a worker's child, which computes one fit after another."""

    def __init__(self, redis_url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.workers.taken_memory"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_HEAP | {"THALWEG_REDIS_URL": redis_url},
        )

    def taken(self, context: Context, small: dict[str, Any], large: dict[str, Any]) -> int:
        """What the large fit takes once a small one of its kind was done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        data_dir = str(context.settings.data_dir)
        self._process.stdin.write(json.dumps([data_dir, small, large]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def used_worker(redis_url: str) -> Iterator[Worker]:
    """One for all fits whose memory no earlier one's pieces are used for again."""
    worker = Worker(redis_url)
    yield worker
    worker.end()


@pytest.fixture
def worker(request: pytest.FixtureRequest, redis_url: str, name: str) -> Iterator[Worker]:
    """A new one for fits of many large pieces."""
    if name not in OF_MANY_PIECES:
        yield request.getfixturevalue("used_worker")
        return
    new = Worker(redis_url)
    yield new
    new.end()


@pytest.mark.parametrize("name", FITS)
def test_the_estimate_is_what_a_worker_takes(context: Context, worker: Worker, name: str) -> None:
    n_rows, n_columns, changes = FITS[name]
    few = {"steps": 3} if "steps" in changes else {}
    small = body_of(context, _FEW_ROWS, n_columns, changes | few)
    large = body_of(context, n_rows, n_columns, changes)

    found, said = worker.taken(context, small, large), estimated(context, large)

    assert found - _LOADED_BYTES <= said <= 3 * found, (found / MIB, said / MIB)
