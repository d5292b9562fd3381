"""The estimate of a fit's memory, beside what a worker's process takes for it."""

import json
import os
import subprocess
import sys
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


def taken(context: Context, small: dict[str, Any], large: dict[str, Any]) -> int:
    """As a worker's child takes it, which has done a small fit of the kind."""
    settings = context.settings
    done = subprocess.run(
        [sys.executable, "-m", "tests.workers.taken_memory"],
        input=json.dumps([small, large]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ
        | ONE_HEAP
        | {
            "THALWEG_DATA_DIR": str(settings.data_dir),
            "THALWEG_REDIS_URL": str(settings.redis_url),
        },
    )
    return int(done.stdout)


@pytest.mark.parametrize("name", FITS)
def test_the_estimate_is_what_a_worker_takes(context: Context, name: str) -> None:
    n_rows, n_columns, changes = FITS[name]
    few = {"steps": 3} if "steps" in changes else {}
    small = body_of(context, _FEW_ROWS, n_columns, changes | few)
    large = body_of(context, n_rows, n_columns, changes)

    found, said = taken(context, small, large), estimated(context, large)

    assert found - _LOADED_BYTES <= said <= 3 * found, (found / MIB, said / MIB)
