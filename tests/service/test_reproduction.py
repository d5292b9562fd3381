"""A fit's script, run on the dataset's CSV, gives the weights of the engine's plain loop."""

import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput, NotFound
from service.reproduction import NotReproducible, script
from service.reproduction.model import ACTIVATIONS, OUTPUTS
from service.reproduction.objective import LOSSES
from service.reproduction.rule import OPTIMIZERS, SCHEDULES
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
    SpecificationError,
    fit,
    losses,
    networks,
    optimizers,
    schedules,
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


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
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
    path = tmp_path_factory.mktemp("csv") / "dataset.csv"
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


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def kind(name: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A tagged union's member, its arguments drawn or left out."""
    return st.fixed_dictionaries({"kind": st.just(name)}, optional=optional)


BOOL = st.booleans()
ONE_LAYER = (
    kind("linear", bias=BOOL)
    | st.builds(lambda d, i, b: {"kind": "polynomial", "degree": d, "interactions": i, "bias": b},
                one_of(1, 2, 3), BOOL, BOOL)
)  # fmt: skip
MLP = st.builds(
    lambda more, hidden: more | {"hidden": hidden},
    kind(
        "mlp", activation=one_of(*ACTIVATIONS), dropout=one_of(0.0, 0.3),
        batch_norm=BOOL, output=one_of(*OUTPUTS),
    ),
    one_of([], [5], [4, 3]),
)  # fmt: skip
OF_NUMBERS = (
    kind("mse")
    | kind("mae")
    | kind("huber", delta=one_of(0.4))
    | kind("smooth_l1", beta=one_of(0.0, 0.4))
    | kind("quantile", q=one_of(0.2))
)
BCE = kind("bce", pos_weight=one_of(2.5))
ENTROPY = kind("cross_entropy", label_smoothing=one_of(0.2), class_weight=one_of([1.0, 0.0, 2.0]))
TWO = one_of("answer", "half")


def fitted(model: Any, loss: Any, target: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"model": model, "loss": loss, "target": target})


PROBLEMS = (
    fitted(ONE_LAYER | MLP, OF_NUMBERS, one_of("y", ["y", "y2"]))
    | fitted(ONE_LAYER | MLP, kind("poisson"), one_of("count"))
    | fitted(ONE_LAYER | MLP, kind("hinge"), TWO)
    | fitted(kind("logistic", bias=BOOL) | MLP, BCE, TWO)
    | fitted(kind("softmax", bias=BOOL) | MLP, ENTROPY, one_of("letter"))
)
OPTIMIZER = (
    kind("sgd", lr=one_of(0.01), momentum=one_of(0.9), weight_decay=one_of(0.1))
    | one_of({"kind": "sgd", "momentum": 0.5, "nesterov": True}, RATE)
    | one_of(*OPTIMIZERS).map(lambda name: {"kind": name})
    | kind("adamw", betas=one_of([0.8, 0.9]), amsgrad=BOOL)
    | kind("lbfgs", max_iter=one_of(3), line_search_fn=one_of("strong_wolfe"))
    | kind("rprop", etas=one_of([0.4, 1.3]), step_sizes=one_of([1e-4, 1.0]))
)
REQUIRED: dict[str, dict[str, Any]] = {
    "step": {"step_size": 2}, "multistep": {"milestones": [1, 4], "gamma": 0.5},
    "exponential": {"gamma": 0.9}, "cosine": {"T_max": 4}, "cosine_warm_restarts": {"T_0": 3},
    "one_cycle": {"max_lr": 0.1, "cycle_momentum": False},
    "cyclic": {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 3, "cycle_momentum": False},
    "reduce_on_plateau": {"patience": 0, "threshold": 0.05, "factor": 0.5},
}  # fmt: skip
SCHEDULE = st.builds(
    lambda name, interval: {"kind": name, "interval": interval} | REQUIRED.get(name, {}),
    one_of(*SCHEDULES),
    one_of("step", "epoch"),
)
INIT = one_of("default", "zeros", "uniform", "normal", "xavier_uniform", "xavier_normal",
              "kaiming_uniform", "kaiming_normal", "orthogonal").map(
                  lambda name: {"kind": name})  # fmt: skip
INIT |= kind("kaiming_normal", a=one_of(0.2), mode=one_of("fan_out"), nonlinearity=one_of("tanh"))
STOPPING = st.fixed_dictionaries(
    {"monitor": one_of("train_loss", "validation_loss"), "patience": one_of(1, 2)},
    optional={"min_delta": one_of(0.01), "restore_best": BOOL},
)
REQUESTS = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items()},
    PROBLEMS,
    st.fixed_dictionaries({"optimizer": OPTIMIZER, "features": one_of(NUMBERS, MIXED)}),
    st.fixed_dictionaries({"epochs": one_of(1, 4)}) | st.fixed_dictionaries({"steps": one_of(7)}),
    st.fixed_dictionaries(
        {},
        optional={
            "sample_weight": st.just("weight"),
            "penalty": one_of({"l1": 0.02}, {"l2": 0.1}, {"l1": 0.01, "l2": 0.03}),
            "scheduler": SCHEDULE,
            "standardize": BOOL,
            "tolerance": one_of(1e-9, 0.3),
            "clip_grad_norm": one_of(0.5),
            "validation": st.fixed_dictionaries({"fraction": one_of(0.2, 0.35), "stratify": BOOL}),
            "early_stopping": STOPPING,
            "batch_size": one_of(2, 7, 16, 26, 30, 100),
            "shuffle": BOOL,
            "drop_last": BOOL,
            "init": INIT,
            "seed": one_of(3, {"init": 1, "shuffle": 2, "split": 3}, 2**40),
        },
    ),
)


@given(request=REQUESTS)
@settings(max_examples=100, suppress_health_check=[*HealthCheck])
def test_any_fit_is_reproduced(
    request: dict[str, Any], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        spec = dataset.spec(**request, dtype="float64")
        assert_reproduced(dataset, spec, tmp_path_factory.mktemp("script"))
    except (InvalidInput, SpecificationError, ZeroDivisionError):
        # A stratified split may leave fewer rows than a batch has; torch's own line search
        # divides by a step that has become 0.
        assume(False)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"kind": "lbfgs", "max_iter": 3, "line_search_fn": "strong_wolfe"}},
        {"tolerance": 0.2, "steps": 9},
        {"tolerance": 1e-3, "clip_grad_norm": 0.5, "batch_size": 16},
        {"scheduler": {"kind": "reduce_on_plateau", "interval": "step", "patience": 0}},
        {"model": NETWORK | {"dropout": 0.4}, "batch_size": 16},
        {"model": NETWORK | {"batch_norm": True}, "tolerance": 1e-3, "validation":
            {"fraction": 0.2}, "early_stopping": {"patience": 1}},
    ],
)  # fmt: skip
def test_a_search_for_each_step(changes: dict[str, Any], dataset: Dataset, tmp_path: Path) -> None:
    search = {"optimizer": {"kind": "lbfgs", "max_iter": 4, "lr": 0.5}, "steps": 3}
    assert_reproduced(dataset, dataset.spec(**PLAIN | search | changes), tmp_path)


def test_momentum_in_cycles_and_float32(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("one_cycle", "cyclic"):
        schedule = REQUIRED[name] | {"kind": name, "interval": "step", "cycle_momentum": True}
        spec = dataset.spec(**PLAIN | {"scheduler": schedule, "optimizer": RATE})
        assert_reproduced(dataset, spec, tmp_path)

    spec = dataset.spec(**PLAIN | {"dtype": "float32", "model": NETWORK, "optimizer": RATE})
    assert_same(run(dataset.script(spec), dataset.path, tmp_path), dataset.fit(spec), 1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_given_weights(batch_norm: bool, dataset: Dataset, tmp_path: Path) -> None:
    model = NETWORK | {"batch_norm": batch_norm}
    drawn = dataset.fit(dataset.spec(**PLAIN | {"model": model})).weights
    weights = {name: array.round(2).tolist() for name, array in drawn.items()}

    spec = dataset.spec(**PLAIN | {"model": model, "init": {"weights": weights}})

    assert_reproduced(dataset, spec, tmp_path)


def test_what_was_ended_early_stops_there(dataset: Dataset, tmp_path: Path) -> None:
    stopping = {"patience": 500, "monitor": "train_loss"}
    noisy = {"early_stopping": stopping, "batch_size": 10, "optimizer": {"kind": "sgd", "lr": 0.1}}
    spec = dataset.spec(**PLAIN | noisy | {"steps": 1000})
    # Some updates are made between two looks at whether it is cancelled, or late.
    looks = iter((False, True))
    cancelled = dataset.fit(spec, should_stop=lambda: next(looks))
    late = dataset.fit(spec, clock=iter([0.0] * 3 + [4000.0] * 3).__next__)

    keeps_last = dataset.script(spec, n_steps=cancelled.n_steps, cancelled=True)
    keeps_best = dataset.script(spec, n_steps=late.n_steps)

    assert (cancelled.status, late.status) == ("interrupted", "time_limit")
    assert 0 < cancelled.n_steps == late.n_steps < 1000
    assert_same(run(keeps_last, dataset.path, tmp_path), cancelled)
    assert_same(run(keeps_best, dataset.path, tmp_path), late)
    assert not np.array_equal(cancelled.weights["bias"], late.weights["bias"])


def test_odd_names_and_many_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n_rows = 70_000
    columns = {
        'x "1"\n': rng.normal(size=n_rows).tolist(),
        "it's\\n": rng.choice(["a\u2028b", "a\tb", "ü, \\"], n_rows).tolist(),
        "y": rng.normal(size=n_rows).tolist(),
    }
    path = tmp_path / "dataset.csv"
    path.write_bytes(as_csv(columns))
    dataset = dataset_of(path)

    spec = dataset.spec(target="y", steps=3, dtype="float64", standardize=True)

    assert_reproduced(dataset, spec, tmp_path)


def in_a_process(source: str, csv: Path, directory: Path) -> "subprocess.CompletedProcess[str]":
    file = directory / "reproduce.py"
    file.write_text(source, "utf-8")
    return subprocess.run(
        [sys.executable, "-I", str(file), str(csv)], capture_output=True, text=True, check=False
    )


def test_a_script_needs_nothing_of_ours(dataset: Dataset, tmp_path: Path) -> None:
    spec = dataset.spec(**PLAIN | {"model": NETWORK, "validation": {"fraction": 0.2}})
    result = dataset.fit(spec)
    source = dataset.script(spec)

    done = in_a_process(source, dataset.path, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert_same(json.loads(done.stdout), result)
    fitted = np.concatenate([array.ravel() for array in result.weights.values()])
    assert not [number for number in fitted.tolist() if repr(number) in source]
    assert "thalweg" not in source.lower()


def test_another_table_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    source = dataset.script(dataset.spec(**PLAIN))
    changed = tmp_path / "changed.csv"
    changed.write_bytes(dataset.path.read_bytes().replace(b"yes", b"Yes", 1))
    lines = dataset.path.read_bytes().splitlines(keepends=True)

    done = in_a_process(source, changed, tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert "another table" in done.stderr
    assert "Traceback" not in done.stderr
    for content in (b"", lines[0], b"".join(lines[:-1]), b"x,y\n1,2,3\n", b"x\nword\n", b"\xff"):
        changed.write_bytes(content)
        with pytest.raises(SystemExit, match=r"another table|dataset's own CSV"):
            run(source, changed, tmp_path)


def test_the_longest_script_is_a_page(dataset: Dataset) -> None:
    search = {
        "kind": "lbfgs",
        "max_iter": 4,
        "max_eval": 30,
        "tolerance_grad": 1e-6,
        "tolerance_change": 1e-8,
        "history_size": 7,
        "line_search_fn": "strong_wolfe",
    }
    plateau = {"kind": "reduce_on_plateau", "factor": 0.2, "patience": 4, "threshold": 1e-5,
               "threshold_mode": "abs", "cooldown": 3, "min_lr": 1e-9, "eps": 1e-9}  # fmt: skip
    init = {"kind": "kaiming_normal", "a": 0.1, "mode": "fan_out", "nonlinearity": "relu"}
    spec = dataset.spec(
        target="letter",
        sample_weight="weight",
        model={"kind": "mlp", "hidden": [4] * 8, "dropout": 0.2, "batch_norm": True},
        loss={"kind": "cross_entropy", "label_smoothing": 0.1, "class_weight": [1.0, 2.0, 0.5]},
        penalty={"l1": 0.01, "l2": 0.02},
        optimizer=search,
        scheduler=plateau,
        clip_grad_norm=1.0,
        tolerance=1e-9,
        standardize=True,
        validation={"fraction": 0.2, "stratify": True},
        early_stopping={"monitor": "train_loss", "min_delta": 0.001},
        batch_size=30,
        epochs=3,
        init=init,
        dtype="float64",
    )

    lines = dataset.script(spec).splitlines()

    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= WIDTH


def test_a_plain_fit_has_nothing_to_spare(dataset: Dataset) -> None:
    source = dataset.script(dataset.spec(features=["x"], target="y", steps=100))

    for needless in ("scheduler", "penalty", "rows_in_order", "held_out", "clip", "class ", "math"):
        assert needless not in source
    assert len(source.splitlines()) < 100


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"init": {"fit": "fit_1", "optimizer_state": False}}, "another fit"),
        ({"validation": {"dataset": "ds_2"}}, "another dataset"),
    ],
)
def test_what_a_script_cannot_do_alone(
    changes: dict[str, Any], word: str, dataset: Dataset
) -> None:
    with pytest.raises(NotReproducible, match=word) as refused:
        dataset.script(dataset.spec(**PLAIN) | changes)

    assert isinstance(refused.value, NotFound)
    assert refused.value.code == "not_reproducible"


def test_every_kind_of_the_engine_is_written() -> None:
    assert set(LOSSES) == set(losses.LOSSES)
    assert set(ACTIVATIONS) == set(networks.ACTIVATIONS)
    assert set(OUTPUTS) == set(networks.OUTPUTS)
    assert {k: c.__name__ for k, c in optimizers.OPTIMIZERS.items()} == OPTIMIZERS
    assert {k: c.__name__ for k, c in schedules.SCHEDULES.items()} == SCHEDULES
