"""A fit's script, run on the dataset's CSV, gives the weights of the engine's plain loop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.reproducing import (
    NETWORK,
    PLAIN,
    RATE,
    REQUIRED,
    Dataset,
    assert_reproduced,
    assert_same,
    dataset_of,
    made_dataset,
    run,
)
from tests.service.tables.given import as_csv


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One for all of these tests."""
    return made_dataset(tmp_path_factory.mktemp("csv"))


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
