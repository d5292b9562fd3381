"""A dataset, a fit on it and the fit's script, side by side."""

import io
import json
import runpy
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from service.reproduction import script
from service.resolution import resolve
from service.schemas.fits import FitRequest
from service.settings import Settings
from service.tables.csv_reader import read_csv
from service.tables.ingest import ingest
from service.tables.pieces import ReadOptions
from service.tables.stored import StoredTable
from tests.service.tables.given import as_csv
from workers.engine import (
    Result,
    Specification,
    fit,
)
from workers.inputs import Columns

N_ROWS = 40
MOST_LINES = 150
WIDTH = 100


@dataclass(frozen=True)
class Dataset:
    """A table as the service keeps it, and its CSV."""

    path: Path
    facts: dict[str, Any]
    block: pa.RecordBatch

    def spec(self, **request: Any) -> dict[str, Any]:
        """The resolved spec of a request on it."""
        return resolve(FitRequest(dataset="ds_1", **request), self.facts, Settings())

    def script(self, spec: dict[str, Any], **more: Any) -> str:
        """The script of a fit on it."""
        facts = self.facts
        return script(spec, facts["columns"], facts["digest"], facts["n_rows"], **more)

    def fit(self, spec: dict[str, Any], **more: Any) -> Result:
        """What the plain loop makes of the spec."""
        columns = Columns.of(spec, self.facts["columns"]).with_classes(self.block)
        engine = Specification.from_mapping(spec | {"strategy": "reference"})
        return fit(engine, columns.data(self.block), **more)


def dataset_of(path: Path) -> Dataset:
    kept = path.with_suffix(".arrow")
    made = ingest(read_csv(path, ReadOptions()), "refuse", kept)
    facts = {"id": "ds_1", "n_rows": made.n_rows, "digest": made.digest, "columns": made.columns}
    with StoredTable(kept) as table:
        (block,) = pa.Table.from_batches(table.blocks()).combine_chunks().to_batches()
    return Dataset(path, facts, block)


def made_dataset(directory: Path) -> Dataset:
    """Columns of every kind, in a CSV there."""
    rng = np.random.default_rng(5)
    x, z, noise = rng.normal(size=(3, N_ROWS))
    columns = {
        "x": x,
        "colour": rng.choice(["red", '"blue", dark', "grün"], N_ROWS),
        "z": 3 + 2 * z,
        "size": rng.choice(["small", "large"], N_ROWS),
        "weight": rng.choice([0, 0.5, 2], N_ROWS),
        "y": 2 * x - z + 0.3 * noise,
        "y2": x * z,
        "count": rng.poisson(2, N_ROWS),
        "half": rng.choice([-1.5, 0], N_ROWS),
        "letter": rng.choice(["a", "b", "c"], N_ROWS),
        "answer": np.where(x + noise > 0, "yes", "no"),
    }
    path = directory / "dataset.csv"
    path.write_bytes(as_csv({name: column.tolist() for name, column in columns.items()}))
    return dataset_of(path)


def run(source: str, csv: Path, directory: Path) -> Any:
    """What the script prints, run in this process, for importing torch takes seconds."""
    file = directory / "reproduce.py"
    file.write_text(source, "utf-8")
    before = sys.argv, torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
    printed = io.StringIO()
    try:
        sys.argv = [str(file), str(csv)]
        with redirect_stdout(printed):
            runpy.run_path(str(file))
    finally:
        sys.argv = before[0]
        torch.set_default_dtype(before[1])
        torch.set_num_threads(before[2])
        torch.set_rng_state(before[3])
    return json.loads(printed.getvalue())


def assert_same(weights: Any, result: Result, rtol: float = 1e-9) -> None:
    assert list(weights) == list(result.weights)
    for name, expected in result.weights.items():
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(
            weights[name], expected, rtol=rtol, atol=rtol * scale, err_msg=name
        )


def assert_reproduced(dataset: Dataset, spec: dict[str, Any], directory: Path) -> None:
    """The script's weights are the plain loop's, and it is a page; given weights may be wide."""
    result = dataset.fit(spec)
    n_steps = result.n_steps if result.status == "diverged" else None
    source = dataset.script(spec, n_steps=n_steps)
    lines = source.splitlines()
    assert len(lines) <= MOST_LINES
    assert max(len(line) for line in lines if "initial" not in line) <= WIDTH
    assert_same(run(source, dataset.path, directory), result)


NUMBERS = ["x", "z"]
MIXED = ["x", "colour", "z", "size"]
PLAIN: dict[str, Any] = {"features": NUMBERS, "target": "y", "steps": 12, "dtype": "float64"}
NETWORK: dict[str, Any] = {"kind": "mlp", "hidden": [4], "activation": "tanh"}
RATE = {"kind": "adam", "lr": 0.05}
REQUIRED: dict[str, dict[str, Any]] = {
    "step": {"step_size": 2}, "multistep": {"milestones": [1, 4], "gamma": 0.5},
    "exponential": {"gamma": 0.9}, "cosine": {"T_max": 4}, "cosine_warm_restarts": {"T_0": 3},
    "one_cycle": {"max_lr": 0.1, "cycle_momentum": False},
    "cyclic": {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 3, "cycle_momentum": False},
    "reduce_on_plateau": {"patience": 0, "threshold": 0.05, "factor": 0.5},
}  # fmt: skip
