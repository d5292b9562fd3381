"""A mini-batch fit on a table of 3 GB by a worker that may take one more GiB of address space."""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from tests.benchmarks.processes import memory_bytes, pids_of, watched, with_children
from tests.stack.conftest import serving

_N_ROWS = 34_000_000
_N_FEATURES = 10
_BLOCK_ROWS = 1_000_000
_ROOM_BYTES = 1024**3
_SECONDS = 1800


def measure() -> dict[str, Any]:
    """Upload, limit the worker, fit; raises RuntimeError where the fit does not succeed."""
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        path = Path(directory) / "table.arrows"
        slopes = _write_table(path)
        limits = {"THALWEG_MAX_REQUEST_BYTES": str(2**33)}
        with (
            serving(Path(directory) / "data", **limits) as (url, _),
            httpx.Client(base_url=url, timeout=_SECONDS) as client,
        ):
            dataset = _upload(client, path)
            path.unlink()
            workers = with_children(pids_of("workers.app"))
            for pid in workers:
                limit = memory_bytes(pid, "VmSize") + _ROOM_BYTES
                resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
            with watched(workers) as watch:
                fit = _fit(client, dataset)
    errors = [abs(fit["coefficients"][f"x{j}"] - slope) for j, slope in enumerate(slopes)]
    return {
        "table_bytes": dataset["size_bytes"],
        "address_space_room_bytes": _ROOM_BYTES,
        "worker_growth_bytes": watch.growth_bytes,
        "steps": fit["loss_history"]["n"],
        "fit_seconds": fit["diagnostics"]["seconds"]["compute"],
        "largest_coefficient_error": float(max(errors)),
    }


def _write_table(path: Path) -> np.ndarray:
    """A plane of the features, and noise; its slopes."""
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=_N_FEATURES)
    names = [*(f"x{j}" for j in range(_N_FEATURES)), "y"]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for _ in range(_N_ROWS // _BLOCK_ROWS):
            x = rng.normal(size=(_BLOCK_ROWS, _N_FEATURES))
            y = x @ slopes + 1 + 0.1 * rng.normal(size=_BLOCK_ROWS)
            writer.write_batch(pa.record_batch([*x.T, y], schema=schema))
    return slopes


def _upload(client: httpx.Client, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        answer = client.post(
            "/v1/datasets",
            content=file,
            headers={
                "Content-Type": "application/vnd.apache.arrow.stream",
                "Content-Length": str(path.stat().st_size),
            },
        )
    answer.raise_for_status()
    dataset: dict[str, Any] = answer.json()
    return dataset


def _fit(client: httpx.Client, dataset: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "dataset": dataset["id"],
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": 0.05},
        "batch_size": 4096,
        "epochs": 1,
        "dtype": "float64",
    }
    fit: dict[str, Any] = client.post("/v1/fits", json=spec).raise_for_status().json()
    deadline = time.monotonic() + _SECONDS
    while fit["status"] in ("queued", "running") and time.monotonic() < deadline:
        url = f"/v1/fits/{fit['id']}"
        fit = client.get(url, headers={"Prefer": "wait=60"}).raise_for_status().json()
    if fit["status"] != "succeeded" or fit["attempt"] != 1:
        raise RuntimeError(f"the fit ended as {fit['status']}, attempt {fit['attempt']}: {fit}")
    return fit
