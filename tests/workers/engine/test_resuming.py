"""Steps, and then more from their state, are the steps of one run, bit for bit."""

from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn, optim

from tests.workers.engine.given import STRATEGIES, noisy_plane, sgd, specification
from tests.workers.engine.test_rules import CHANGED, DEFAULTS, SCHEDULED
from workers.engine import Data, Result, Snapshot, SpecificationError, Start, fit

CARRIED = {"fit": "fit_01", "optimizer_state": True}
# 7 batches an epoch: 20 steps end within the third.
BATCH_SIZE = 8
NETWORK = {
    "kind": "mlp", "hidden": [6, 4], "activation": "tanh", "dropout": 0.3, "batch_norm": True,
    "output": "auto",
}  # fmt: skip
CYCLIC = {"kind": "cyclic", "interval": "step"} | SCHEDULED[10][2]


def carried(result: Result, *, state: bool = True) -> Start:
    """What another fit starts from, as it comes back from a file."""
    arrays = {k: np.ascontiguousarray(v) for k, v in result.snapshot.to_arrays().items()}
    stored = safetensors.numpy.load(safetensors.numpy.save(arrays))
    return Start(result.weights, Snapshot.from_arrays(stored) if state else None)


def run(data: Data, start: Start | None = None, **changes: Any) -> Result:
    init = {"kind": "default"} if start is None else CARRIED
    return fit(specification(init=init, **changes), data, start=start)


def in_two(data: Data, n_steps: int = 20, **changes: Any) -> tuple[Result, Result, Result]:
    """The first steps, the rest of 40, and all in one."""
    first = run(data, steps=n_steps, **changes)
    rest = run(data, carried(first), steps=40 - n_steps, **changes)
    return first, rest, run(data, steps=40, **changes)


def assert_one_run(parts: tuple[Result, Result, Result]) -> None:
    first, rest, whole = parts
    for name in ("loss", "grad_norm", "lr"):
        joined = [getattr(part.history, name) for part in (first, rest)]
        np.testing.assert_array_equal(np.concatenate(joined), getattr(whole.history, name))
    assert rest.final_loss == whole.final_loss
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(rest.weights[name], weight)


@pytest.mark.parametrize("batch_size", [None, BATCH_SIZE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", DEFAULTS)
def test_every_optimizer_goes_on(kind: str, dtype: str, batch_size: int | None) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1]

    parts = in_two(noisy_plane(), optimizer=optimizer, dtype=dtype, batch_size=batch_size)

    assert_one_run(parts)


@pytest.mark.parametrize(("kind", "arguments"), CHANGED)
def test_every_argument_goes_on(kind: str, arguments: dict[str, Any]) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1] | arguments

    assert_one_run(in_two(noisy_plane(), optimizer=optimizer, batch_size=BATCH_SIZE))


@pytest.mark.parametrize(
    ("strategy", "batch_size"),
    [("spectral", None), ("normal", None), *((name, BATCH_SIZE) for name in STRATEGIES)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_steps", [1, 14, 39])
def test_every_strategy_goes_on(
    strategy: str, batch_size: int | None, dtype: str, n_steps: int
) -> None:
    parts = in_two(
        noisy_plane(n_targets=2, weighted=True), n_steps, strategy=strategy, dtype=dtype,
        batch_size=batch_size, optimizer=sgd(momentum=0.9, nesterov=True),
    )  # fmt: skip

    assert {part.strategy for part in parts} == {strategy}
    assert_one_run(parts)


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("kind", "_", "arguments"), SCHEDULED)
def test_every_schedule_goes_on(
    kind: str, _: object, arguments: dict[str, Any], interval: str
) -> None:
    scheduler = {"kind": kind, "interval": interval} | arguments

    parts = in_two(
        noisy_plane(), scheduler=scheduler, batch_size=BATCH_SIZE, optimizer=sgd(momentum=0.5)
    )

    assert_one_run(parts)


@pytest.mark.parametrize(
    ("strategy", "batch_size"), [("normal", None), *((name, BATCH_SIZE) for name in STRATEGIES)]
)
@pytest.mark.parametrize("kind", ["sgd", "rmsprop", "adam"])
def test_a_momentum_that_a_schedule_alone_sets_goes_on(
    kind: str, strategy: str, batch_size: int | None
) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1]

    parts = in_two(
        noisy_plane(), strategy=strategy, batch_size=batch_size, optimizer=optimizer,
        scheduler=CYCLIC,
    )  # fmt: skip

    assert [part.strategy for part in parts] == [strategy] * 3
    assert_one_run(parts)


@pytest.mark.parametrize("one", ["normal", *STRATEGIES])
def test_a_schedule_sets_a_momentum_where_the_state_has_none(one: str) -> None:
    # given a fit without momentum
    data, optimizer = noisy_plane(), {"kind": "rmsprop"} | DEFAULTS["rmsprop"][1]
    first = run(data, strategy=one, optimizer=optimizer)

    # when others go on from it with a schedule that sets one
    rest = [
        run(data, carried(first), strategy=other, optimizer=optimizer, scheduler=CYCLIC)
        for other in ("normal", *STRATEGIES)
    ]

    # then it begins from no velocity
    model = nn.Linear(data.x.shape[1], 1, dtype=torch.float64)
    model.load_state_dict({name: torch.tensor(w) for name, w in first.weights.items()})
    with_momentum = optim.RMSprop(model.parameters(), **DEFAULTS["rmsprop"][1])
    for state, parameter in zip(first.snapshot.optimizer, model.parameters(), strict=True):
        kept = {"momentum_buffer": np.zeros(parameter.shape), **state}
        with_momentum.state[parameter] = {n: torch.as_tensor(value) for n, value in kept.items()}
    losses = []
    schedule = optim.lr_scheduler.CyclicLR(
        with_momentum, **{n: value for n, value in CYCLIC.items() if n not in ("kind", "interval")}
    )
    for _ in range(20):
        with_momentum.zero_grad()
        loss = nn.functional.mse_loss(model(torch.tensor(data.x)), torch.tensor(data.y))
        loss.backward()
        losses.append(loss.item())
        with_momentum.step()
        schedule.step()
    for found in rest:
        np.testing.assert_allclose(found.history.loss, losses, rtol=1e-9)


def test_a_network_goes_on_with_its_dropout_and_batch_norm() -> None:
    adam = {"kind": "adam"} | DEFAULTS["adam"][1]

    parts = in_two(noisy_plane(), model=NETWORK, batch_size=BATCH_SIZE, optimizer=adam)

    assert_one_run(parts)


def test_an_epoch_that_two_fits_share_is_one_epoch() -> None:
    # 35 rows are left: 5 batches an epoch, and 23 steps end within the fifth.
    _, rest, whole = in_two(
        noisy_plane(), 23, batch_size=BATCH_SIZE, validation={"fraction": 0.3, "stratify": False}
    )
    assert rest.history.epoch.tolist() == [0] * 2 + [1] * 5 + [2] * 5 + [3] * 5
    np.testing.assert_array_equal(
        rest.history.epochs_train_loss, whole.history.epochs_train_loss[4:]
    )
    np.testing.assert_array_equal(
        rest.history.epochs_validation_loss, whole.history.epochs_validation_loss[4:]
    )


def test_weights_alone_begin_a_fit_of_their_own() -> None:
    data = noisy_plane()
    first = run(data, optimizer=sgd(momentum=0.9), batch_size=BATCH_SIZE)

    begun = run(
        data, carried(first, state=False), optimizer=sgd(momentum=0.9), batch_size=BATCH_SIZE
    )

    weights = {name: weight.tolist() for name, weight in first.weights.items()}
    given = fit(
        specification(
            init={"weights": weights}, optimizer=sgd(momentum=0.9), batch_size=BATCH_SIZE
        ),
        data,
    )
    np.testing.assert_array_equal(begun.history.loss, given.history.loss)


def test_a_new_rate_may_be_given_and_begins_its_schedule_anew() -> None:
    first = run(noisy_plane(), optimizer=sgd(momentum=0.9))
    start = carried(first)
    schedule = {"kind": "step", "interval": "step", "step_size": 5, "gamma": 0.1}

    rest = run(noisy_plane(), start, optimizer=sgd(momentum=0.9, lr=0.2), scheduler=schedule)

    assert rest.history.lr[0] == 0.2
    assert rest.history.lr[5] == pytest.approx(0.02)
    # The first step goes on with the momentum that was.
    assert start.snapshot is not None
    gradient = {n: w.astype(np.float64) for n, w in first_gradient(start).items()}
    buffers = start.snapshot.optimizer
    for (name, weight), buffer in zip(first.weights.items(), buffers, strict=True):
        moved = run(noisy_plane(), start, optimizer=sgd(momentum=0.9, lr=0.2), steps=1)
        velocity = 0.9 * np.asarray(buffer["momentum_buffer"]) + gradient[name]
        np.testing.assert_allclose(moved.weights[name], weight - 0.2 * velocity, rtol=1e-12)


def first_gradient(start: Start) -> dict[str, Any]:
    """The gradient of the mean squared error at the start, by hand."""
    data = noisy_plane()
    residual = data.x @ start.weights["weight"].T + start.weights["bias"] - data.y
    return {
        "weight": 2 * residual.T @ data.x / len(data.x),
        "bias": 2 * residual.sum(axis=0) / len(data.x),
    }


def test_other_batches_go_on_at_the_next_epoch() -> None:
    first = run(noisy_plane(), batch_size=BATCH_SIZE)

    rest = run(noisy_plane(), carried(first), batch_size=10)

    # 20 updates of 7 an epoch: the shuffles of epochs 0, 1 and 2 have been begun.
    assert rest.snapshot.position == 3 * 5 + 20
    assert rest.history.epoch.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"optimizer": sgd(momentum=0.5)}, "/init/optimizer_state"),
        ({"optimizer": {"kind": "adam"} | DEFAULTS["adam"][1]}, "/init/optimizer_state"),
        ({"model": {"kind": "linear", "bias": False}}, "/init/weights/bias"),
        ({"scheduler": {"kind": "one_cycle", "interval": "step"} | SCHEDULED[5][2],
          "steps": 22, "optimizer": sgd(momentum=0.9)}, "/scheduler/total_steps"),
    ],
)  # fmt: skip
def test_what_cannot_go_on_is_refused(changes: dict[str, Any], pointer: str) -> None:
    schedule = {"kind": "one_cycle", "interval": "step"} | SCHEDULED[5][2]
    first = run(noisy_plane(), optimizer=sgd(momentum=0.9), scheduler=schedule)

    with pytest.raises(SpecificationError) as refused:
        run(noisy_plane(), carried(first), **({"optimizer": sgd(momentum=0.9)} | changes))

    assert refused.value.pointer == pointer


def test_the_weights_of_another_fit_must_come() -> None:
    with pytest.raises(ValueError, match="beside the specification"):
        fit(specification(init=CARRIED), noisy_plane())


def test_a_snapshot_is_not_changed_by_the_fit_that_goes_on() -> None:
    first = run(noisy_plane(), optimizer={"kind": "adam"} | DEFAULTS["adam"][1])
    start = Start(first.weights, first.snapshot)
    before = {name: array.copy() for name, array in first.snapshot.to_arrays().items()}

    run(noisy_plane(), start, optimizer={"kind": "adam"} | DEFAULTS["adam"][1])

    for name, array in first.snapshot.to_arrays().items():
        np.testing.assert_array_equal(array, before[name])
    assert torch.is_grad_enabled()
