"""The learning-rate range test: torch-lr-finder's curve, and what it suggests."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.engine.given import mapping, noisy_plane, sgd, specification
from tests.workers.engine.plain import batches_of
from workers.engine import Data, fit
from workers.engine.lr_range import LrRange, LrRangeResult, lr_range_test
from workers.engine.lr_suggestions import fewest_points

LBFGS = {
    "kind": "lbfgs",
    "lr": 1.0,
    "max_iter": 4,
    "max_eval": None,
    "tolerance_grad": 1e-7,
    "tolerance_change": 1e-9,
    "history_size": 10,
    "line_search_fn": None,
}
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, sgd(momentum=0.9, nesterov=True)),
    "adam": (torch.optim.Adam, {"kind": "adam", "lr": 1.0}),
    "asgd": (torch.optim.ASGD, {"kind": "asgd", "lr": 1.0}),
    "rprop": (torch.optim.Rprop, {"kind": "rprop", "lr": 1.0}),
    "lbfgs": (torch.optim.LBFGS, LBFGS),
}


def plain_range(
    optimizer: str, rule: LrRange, batch_size: int | None, data: Data
) -> tuple[list[float], list[float], list[float]]:
    """A linear model's range test in plain torch: the rates, the smoothed losses, and the raw."""
    x, y = torch.tensor(data.x), torch.tensor(data.y)
    torch.manual_seed(0)
    model = torch.nn.Linear(x.shape[1], y.shape[1], dtype=torch.float64)
    build, arguments = OPTIMIZERS[optimizer]
    moved: Any = build(model.parameters(), **{k: a for k, a in arguments.items() if k != "kind"})
    points: list[tuple[float, float, float]] = []
    smoothed = 0.0
    for i, rows in enumerate(batches_of(mapping(batch_size=batch_size, steps=rule.num_iter), 50)):
        lr = moved.param_groups[0]["lr"] = plain_lr(rule, i)

        def closure(rows: torch.Tensor = rows) -> torch.Tensor:
            moved.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            return loss

        loss = moved.step(closure).item()
        newest = rule.smooth_f if rule.smooth_f > 0 and points else 1.0
        smoothed = newest * loss + (1 - newest) * smoothed
        points.append((lr, smoothed, loss))
        if smoothed > rule.diverge_th * min(loss for _, loss, _ in points):
            break
    lrs, losses, raw = map(list, zip(*points, strict=True))
    return lrs, losses, raw


def plain_lr(rule: LrRange, iteration: int) -> float:
    """The rate of torch-lr-finder's two schedules."""
    share = iteration / (rule.num_iter - 1)
    if rule.step_mode == "exp":
        return float(rule.start_lr * (rule.end_lr / rule.start_lr) ** share)
    return rule.start_lr + share * (rule.end_lr - rule.start_lr)


def small_range(**changes: Any) -> LrRangeResult:
    """The default range test of a plain linear model, with some members of the fit changed."""
    return lr_range_test(specification(**changes), LrRange(), noisy_plane())


def assert_same_curve(one: LrRangeResult, other: LrRangeResult) -> None:
    """To the bit, with what it suggests."""
    assert len(one.lr) > 0
    np.testing.assert_array_equal(one.lr, other.lr)
    np.testing.assert_array_equal(one.loss, other.loss)
    np.testing.assert_array_equal(one.raw_loss, other.raw_loss)
    assert (one.steepest, one.valley, one.stop_reason) == (
        other.steepest,
        other.valley,
        other.stop_reason,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize(
    "rule",
    [
        LrRange(),
        LrRange(step_mode="linear", end_lr=0.2, num_iter=30),
        LrRange(start_lr=1e-4, end_lr=1.0, num_iter=40, smooth_f=0.0, diverge_th=50.0),
        LrRange(end_lr=0.05, num_iter=230, smooth_f=0.3, diverge_th=3.0),
    ],
)
def test_the_curve_is_that_of_the_plain_loop(
    optimizer: str, batch_size: int | None, rule: LrRange
) -> None:
    # given the rates, the smoothing and the end of torch-lr-finder, written down in plain torch
    data = noisy_plane()
    lr, loss, raw_loss = plain_range(optimizer, rule, batch_size, data)

    # when the range is tested
    spec = specification(optimizer=OPTIMIZERS[optimizer][1], batch_size=batch_size)
    result = lr_range_test(spec, rule, data)

    # then every point of the curve is there, and no other
    np.testing.assert_allclose(result.lr, lr, rtol=1e-12)
    np.testing.assert_allclose(result.raw_loss, raw_loss, rtol=1e-9)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-9)
    assert (result.stop_reason == "diverged") == (loss[-1] > rule.diverge_th * min(loss))

    # and the steepest point is where numpy's gradient is least, between the ends left out
    if len(lr) < fewest_points(rule.num_iter):
        assert result.steepest is result.valley is None
        assert f"the curve has {len(lr)}" in str(result.reason)
    else:
        kept = result.loss[10:-5]
        assert result.steepest == result.lr[10 + np.argmin(np.gradient(kept))]
        assert result.reason is None


@pytest.mark.parametrize("mode", ["exp", "linear"])
def test_the_rates_go_from_the_start_to_the_end(mode: Any) -> None:
    rule = LrRange(start_lr=1e-5, end_lr=1e-3, num_iter=7, step_mode=mode)

    lr = lr_range_test(specification(), rule, noisy_plane()).lr

    space = np.geomspace if mode == "exp" else np.linspace
    np.testing.assert_allclose(lr, space(1e-5, 1e-3, 7), rtol=1e-12)


def test_only_the_update_and_the_rows_matter() -> None:
    # given a fit with all that a range test ignores
    busy = specification(
        optimizer=sgd(lr=123.0),
        scheduler={"kind": "step", "interval": "step", "step_size": 3, "gamma": 0.1},
        tolerance=1e9,
        early_stopping={
            "monitor": "train_loss", "patience": 1, "min_delta": 1e9, "restore_best": True
        },
        validation={"dataset": "ds_02"},
        epochs=1,
        batch_size=8,
    )  # fmt: skip

    # then its curve is the bare one's
    bare = small_range(batch_size=8, strategy="kernels")
    assert_same_curve(lr_range_test(busy, LrRange(), noisy_plane()), bare)
    assert bare.strategy == "reference"
    assert small_range(batch_size=8, strategy="spectral").strategy == "reference"


def test_only_the_training_rows_are_looked_at_in_units_of_their_own() -> None:
    # given the rows that a fit is made on, standardized by hand
    changes = {"validation": {"fraction": 0.3, "stratify": False}, "batch_size": 8}
    data = noisy_plane(weighted=True)
    fitted = fit(specification(standardize=True, **changes), data)
    rows = fitted.split.train.read(0, fitted.split.train.shape.n_rows)
    x = (rows.x - rows.x.mean(axis=0)) / rows.x.std(axis=0)

    # when the ranges of both are tested
    given = lr_range_test(specification(standardize=True, **changes), LrRange(), data)
    by_hand = lr_range_test(
        specification(batch_size=8), LrRange(), Data(x, rows.y, weight=rows.weight)
    )

    # then they are one and the same
    np.testing.assert_allclose(given.loss, by_hand.loss, rtol=1e-9)
    assert given.lr.tolist() == by_hand.lr.tolist()


@pytest.mark.parametrize("batch_size", [None, 8])
def test_rows_that_are_streamed_give_the_same_bits(batch_size: int | None) -> None:
    in_memory = small_range(batch_size=batch_size, strategy="reference")

    streamed = small_range(batch_size=batch_size, strategy="streaming")

    assert (in_memory.strategy, streamed.strategy) == ("reference", "streaming")
    assert_same_curve(streamed, in_memory)


def test_it_is_as_if_it_had_never_run() -> None:
    # given a network with chance in its steps, weights of its own, and generators somewhere
    network = {
        "model": {
            "kind": "mlp", "hidden": [4], "activation": "tanh", "dropout": 0.5,
            "batch_norm": True, "output": "auto",
        },
        "batch_size": 10,
        "optimizer": {"kind": "adam", "lr": 0.01},
    }  # fmt: skip
    spec, data = specification(**network), noisy_plane()
    x, y = data.x.copy(), data.y.copy()
    before = fit(spec, data)
    torch.manual_seed(5)
    state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())
    n_threads = torch.get_num_threads()

    # when the range is tested, twice
    first, second = (lr_range_test(spec, LrRange(), data) for _ in range(2))

    # then it is the same both times, and no generator, array or setting has moved
    assert_same_curve(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(np.random.get_state()) == numpy_state
    assert torch.get_num_threads() == n_threads
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.y, y)

    # and a fit's first loss is the curve's, and its weights are what they were
    after = fit(spec, data)
    assert after.history.loss[0] == first.raw_loss[0]
    for name, weight in before.weights.items():
        np.testing.assert_array_equal(after.weights[name], weight)


def test_given_weights_are_copied() -> None:
    spec = specification(init={"weights": {"weight": [[1.0, 2.0, 3.0]], "bias": [0.5]}})

    lr_range_test(spec, LrRange(), noisy_plane())

    initial = fit(spec, noisy_plane()).initial_weights
    assert initial["weight"].tolist() == [[1.0, 2.0, 3.0]]
    assert initial["bias"].tolist() == [0.5]
