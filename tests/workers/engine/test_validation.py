"""Held-out rows, and the end of a fit that gets no better on them."""

import math
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.engine.given import STRATEGIES, mapping, noisy_plane, sgd, specification
from tests.workers.engine.test_streaming import Watched
from workers.engine import Data, Result, Specification, SpecificationError, fit
from workers.engine.early_stopping import EarlyStopping, Patience
from workers.engine.splitting import Subset, Validation, split_rows

HELD_OUT = {"fraction": 0.25, "stratify": False}
BESIDE = {"dataset": "ds_02"}


def computed(data: Data, **changes: Any) -> Result:
    return fit(Specification.from_mapping(mapping(**changes)), data)


def stopping(**changes: Any) -> dict[str, Any]:
    return {
        "monitor": "validation_loss", "patience": 3, "min_delta": 0.0, "restore_best": True
    } | changes  # fmt: skip


def overfitting() -> Data:
    """Many features and few rows: what helps the training rows soon hurts the others."""
    return noisy_plane(40, 25, seed=3)


@given(
    n_rows=st.integers(2, 300),
    fraction=st.floats(0.01, 0.95),
    seed=st.integers(0, 2**63),
)
def test_rows_are_held_out_once_and_the_others_keep_their_order(
    n_rows: int, fraction: float, seed: int
) -> None:
    x = np.arange(float(n_rows))[:, None]
    n_held = math.ceil(fraction * n_rows)
    if n_held == n_rows:
        with pytest.raises(SpecificationError, match="none would be left"):
            split_rows(Data(x, x), Validation(fraction, stratify=False), seed)
        return

    split = split_rows(Data(x, x), Validation(fraction, stratify=False), seed)

    assert split.validation is not None
    kept, held = (s.read(0, s.shape.n_rows).x[:, 0] for s in (split.train, split.validation))
    assert len(held) == n_held
    assert (np.diff(kept) > 0).all()
    assert sorted([*kept, *held]) == x[:, 0].tolist()


def test_each_class_gives_its_share() -> None:
    y = np.repeat([0.0, 1.0, 2.0], [60, 30, 10])[:, None]

    split = split_rows(Data(y, y, n_classes=3), Validation(0.2, stratify=True), 5)

    assert split.validation is not None
    assert np.bincount(split.validation.read(0, 20).y[:, 0].astype(int)).tolist() == [12, 6, 2]


def test_a_subset_of_a_long_source_is_read_piece_by_piece() -> None:
    x = np.arange(200_000.0)[:, None]
    rows = np.array([3, 70_000, 70_001, 199_999])

    subset = Subset(Data(x, x, x[:, 0]), rows)

    assert subset.read(0, 4).x[:, 0].tolist() == rows.tolist()
    assert subset.read(1, 3).y[:, 0].tolist() == [70_000, 70_001]
    assert subset.read(3, 4).weight is not None


@pytest.mark.parametrize(
    ("strategy", "batch_size"), [("reference", 16), ("streaming", 16), ("spectral", None)]
)
def test_validation_rows_touch_no_weight(strategy: str, batch_size: int | None) -> None:
    data = noisy_plane(80)
    spec = {"validation": HELD_OUT, "standardize": True, "batch_size": batch_size, "epochs": 3}
    spec |= {"strategy": strategy}
    split = split_rows(data, Validation(0.25, stratify=False), 0)
    train = split.train.read(0, split.train.shape.n_rows)
    held = split.validation
    assert held is not None

    whole = computed(data, **spec)
    alone = computed(train, **(spec | {"validation": None}))

    for name, weight in alone.weights.items():
        assert whole.weights[name].tobytes() == weight.tobytes()
    assert whole.history.loss.tobytes() == alone.history.loss.tobytes()
    rows = held.read(0, held.shape.n_rows)
    assert whole.scaling is not None
    predicted = whole.scaling.scale(rows.x) @ whole.weights["weight"].T + whole.weights["bias"]
    last = whole.history.epochs_validation_loss[-1]
    assert last == pytest.approx(((predicted - rows.y) ** 2).mean(), rel=1e-12)


def test_a_plateau_is_looked_for_on_the_held_out_rows() -> None:
    schedule = {
        "kind": "reduce_on_plateau", "interval": "epoch", "mode": "min", "factor": 0.5,
        "patience": 0, "threshold": 0.0, "threshold_mode": "rel", "cooldown": 0, "min_lr": 0.0,
        "eps": 0.0,
    }  # fmt: skip

    history = computed(
        overfitting(), validation=HELD_OUT, scheduler=schedule, optimizer=sgd(lr=0.05), steps=3000
    ).history

    worse = np.flatnonzero(np.diff(history.epochs_validation_loss) > 0)
    assert len(worse)
    assert (np.diff(history.epochs_train_loss[: worse[0] + 2]) < 0).all()
    # the rate of the step after the first worse epoch is the first lower one
    assert np.flatnonzero(np.diff(history.lr))[0] == worse[0] + 1


@pytest.mark.parametrize("restore_best", [True, False])
def test_a_fit_stops_where_the_held_out_rows_say(restore_best: bool) -> None:
    spec = {
        "validation": HELD_OUT, "optimizer": sgd(lr=0.05), "steps": 3000,
        "early_stopping": stopping(restore_best=restore_best),
    }  # fmt: skip

    result = computed(overfitting(), **spec)

    losses = result.history.epochs_validation_loss
    assert result.status == "early_stopped"
    assert len(losses) == result.n_steps < 3000
    assert losses.argmin() == len(losses) - 4
    held = result.split.validation
    assert held is not None
    rows = held.read(0, held.shape.n_rows)
    predicted = rows.x @ result.weights["weight"].T + result.weights["bias"]
    expected = losses.min() if restore_best else losses[-1]
    assert ((predicted - rows.y) ** 2).mean() == pytest.approx(expected, rel=1e-12)


def test_the_best_weights_come_back_from_a_fit_that_was_not_stopped() -> None:
    spec = {"validation": HELD_OUT, "optimizer": sgd(lr=0.05), "steps": 3000}

    best = computed(overfitting(), **spec, early_stopping=stopping(patience=3000))
    last = computed(overfitting(), **spec)

    assert best.status == last.status == "completed"
    assert best.history.loss.tobytes() == last.history.loss.tobytes()
    assert best.final_loss is not None
    assert last.final_loss is not None
    assert best.final_loss > last.final_loss


def test_an_improvement_must_be_more_than_min_delta() -> None:
    patience = Patience(EarlyStopping("train_loss", 2, 0.5, restore_best=True))

    looks = [patience.look(train_loss=x, validation_loss=0.0) for x in (3.0, 2.4, 2.1, 1.8)]

    assert looks == [True, True, False, True]
    assert not patience.is_over
    assert not patience.look(train_loss=math.nan, validation_loss=0.0)
    assert not patience.look(train_loss=1.5, validation_loss=0.0)
    assert patience.is_over


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_many_held_out_rows_are_looked_at_between_two_looks_at_the_clock(strategy: str) -> None:
    # given rows that are not in memory, held out beside a few that are
    source = Watched(noisy_plane(3_000))
    passes: list[int] = []

    def look() -> bool:
        passes.append(sum(stop - first for first, stop in source.reads) // 3_000)
        return False

    # when it is fitted
    spec = specification(steps=6, batch_size=25, validation=BESIDE, strategy=strategy)
    result = fit(spec, noisy_plane(50), held_out=source, should_stop=look)

    # then no two passes over them are made in a row
    assert result.n_steps == 6
    assert np.diff(passes).max() == 1


def test_many_rows_in_memory_are_work_too() -> None:
    # given ten times a chunk's work at each epoch's end
    looks = count()
    held_out = noisy_plane(2**20, 16)

    # when ten of them are looked at
    spec = specification(steps=10, validation=BESIDE, strategy="kernels")
    fit(spec, noisy_plane(50, 16), held_out=held_out, should_stop=lambda: next(looks) < 0)

    # then so is whether to stop
    assert next(looks) == 10


def test_large_layers_hold_rows_out_that_memory_does_not_hold() -> None:
    # given layers that go on with some hundred rows at once
    model = {"kind": "mlp", "hidden": [2_000], "activation": "relu"}
    network = model | {"dropout": 0.0, "batch_norm": False, "output": "auto"}
    source = Watched(noisy_plane(3_000))
    train = noisy_plane(50)

    # when rows of a source are held out
    spec = specification(model=network, steps=2, validation=BESIDE, strategy="large")
    result = fit(spec, train, held_out=source)

    # then they are read a part at a time, and have the loss that they have in memory
    assert max(stop - first for first, stop in source.reads) < 1_000
    same = fit(spec, train, held_out=source.data)
    np.testing.assert_allclose(
        result.history.epochs_validation_loss, same.history.epochs_validation_loss, rtol=1e-12
    )
