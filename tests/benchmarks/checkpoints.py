"""What writing a long fit down costs it: the same fits by services that do so more or less often.

Interleaved, through HTTP; the seconds are the engine's, `diagnostics.seconds.compute`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.timing import Timing
from tests.stack.conftest import serving

_ROUNDS = 3
_SECONDS = 120
_LINE = {
    "kind": "linear", "n": 100_000, "seed": 1, "x": {"uniform": [-1, 1]}, "coef": [2.0] * 20,
    "intercept": 3.0, "noise": {"normal": [0, 1]},
}  # fmt: skip
# Some seconds each: one with a long history, one with many weights.
FITS: Mapping[str, dict[str, Any]] = {
    "6,000,000 steps of a small linear model": {
        "batch_size": 32, "steps": 6_000_000, "optimizer": {"kind": "sgd", "lr": 0.001},
    },
    "an MLP of 1.3 million weights by Adam": {
        "model": {"kind": "mlp", "hidden": [1024, 1024, 256]}, "batch_size": 256, "steps": 400,
        "optimizer": {"kind": "adam", "lr": 0.001},
    },
}  # fmt: skip
_PERIODS = {"every second": "1", "every 5 seconds": "5", "never": "86400"}


def measure(fit: Mapping[str, Any]) -> list[Timing]:
    """The fit's seconds by how often it is written down; raises RuntimeError where one fails."""
    seconds: dict[str, list[float]] = {name: [] for name in _PERIODS}
    for _ in range(_ROUNDS):
        for name, period in _PERIODS.items():
            with (
                tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
                serving(Path(directory), THALWEG_CHECKPOINT_SECONDS=period) as (url, _),
                httpx.Client(base_url=url, timeout=_SECONDS) as client,
            ):
                seconds[name].append(_compute_seconds(client, fit))
    return [Timing(name, taken) for name, taken in seconds.items()]


def _compute_seconds(client: httpx.Client, fit: Mapping[str, Any]) -> float:
    body = {"dataset": {"generator": _LINE}, "target": "y", **fit}
    answer = client.post("/v1/fits", json=body, headers={"Prefer": "wait=60"}).raise_for_status()
    shown = answer.json()
    if answer.status_code == httpx.codes.ACCEPTED:
        url = f"/v1/fits/{shown['id']}"
        shown = client.get(url, headers={"Prefer": "wait=60"}).raise_for_status().json()
    if shown["status"] != "succeeded":
        raise RuntimeError(f"the fit has not succeeded: {shown}")
    taken: float = shown["diagnostics"]["seconds"]["compute"]
    return taken
