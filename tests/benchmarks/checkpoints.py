"""What writing a long fit down takes of it, as its worker tells."""

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.benchmarks.bars import at_most
from tests.faults.running import running

_ROUNDS = 3
_SECONDS = 120
_LINE = {
    "kind": "linear", "n": 100_000, "seed": 1, "x": {"uniform": [-1, 1]}, "coef": [2.0] * 20,
    "intercept": 3.0, "noise": {"normal": [0, 1]},
}  # fmt: skip
# Some seconds each: one with a long history, one with many weights.
FITS: Mapping[str, dict[str, Any]] = {
    "10,000,000 steps of a small linear model": {
        "batch_size": 32, "steps": 10_000_000, "optimizer": {"kind": "sgd", "lr": 0.001},
    },
    "an MLP of 1.3 million weights by Adam": {
        "model": {"kind": "mlp", "hidden": [1024, 1024, 256]}, "batch_size": 256, "steps": 800,
        "optimizer": {"kind": "adam", "lr": 0.001},
    },
}  # fmt: skip
# Five times as often as by default.
_ENVIRONMENT = {"THALWEG_CHECKPOINT_SECONDS": "1", "THALWEG_LOG_LEVEL": "DEBUG"}
_MOST_SHARE = 0.02


def measure(fit: Mapping[str, Any]) -> dict[str, float]:
    """The medians of some rounds; raises RuntimeError where a fit fails or is not written down.

    `share` is of the engine's seconds, `diagnostics.seconds.compute`, which hold the writing.
    """
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        with (
            running(Path(directory) / "data", _ENVIRONMENT) as service,
            httpx.Client(base_url=service.url, timeout=_SECONDS) as client,
        ):
            ended = [_ended(client, fit) for _ in range(_ROUNDS)]
        rounds = [_figures(one, list(_written(service.log, one["id"]))) for one in ended]
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def bar(figures: Mapping[str, float]) -> dict[str, Any]:
    """What the share was to be, and whether it was."""
    return {"share": at_most(figures["share"], _MOST_SHARE)}


def _ended(client: httpx.Client, fit: Mapping[str, Any]) -> dict[str, Any]:
    body = {"dataset": {"generator": _LINE}, "target": "y", **fit}
    answer = client.post("/v1/fits", json=body, headers={"Prefer": "wait=60"}).raise_for_status()
    shown: dict[str, Any] = answer.json()
    if answer.status_code == httpx.codes.ACCEPTED:
        url = f"/v1/fits/{shown['id']}"
        shown = client.get(url, headers={"Prefer": "wait=60"}).raise_for_status().json()
    if shown["status"] != "succeeded":
        raise RuntimeError(f"the fit has not succeeded: {shown}")
    return shown


def _written(log: Path, fit_id: str) -> Iterator[float]:
    """The seconds of each of the fit's checkpoints."""
    for line in log.read_text().splitlines():
        if '"checkpoint_written"' in line and fit_id in line:
            yield orjson.loads(line)["seconds"]


def _figures(fit: Mapping[str, Any], written: list[float]) -> dict[str, float]:
    if not written:
        raise RuntimeError(f"the fit has not been written down: {fit}")
    compute_seconds: float = fit["diagnostics"]["seconds"]["compute"]
    return {
        "compute_seconds": compute_seconds,
        "checkpoints": float(len(written)),
        "median_checkpoint_seconds": statistics.median(written),
        "share": sum(written) / compute_seconds,
    }
