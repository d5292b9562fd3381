"""A fit's script as a reader meets it: alone, on one table, a page long."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import NotFound
from service.reproduction import NotReproducible
from service.reproduction.model import ACTIVATIONS, OUTPUTS
from service.reproduction.objective import LOSSES
from service.reproduction.rule import OPTIMIZERS, SCHEDULES
from tests.service.reproducing import (
    MOST_LINES,
    NETWORK,
    PLAIN,
    WIDTH,
    Dataset,
    assert_same,
    made_dataset,
    run,
)
from workers.engine import (
    losses,
    networks,
    optimizers,
    schedules,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One for all of these tests."""
    return made_dataset(tmp_path_factory.mktemp("csv"))


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
