"""A fit that is stopped again and again, and goes on from what it had written, is one fit."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, noisy_plane, sgd, specification
from tests.workers.engine.test_resuming import CARRIED, NETWORK, carried
from tests.workers.engine.test_rules import CHANGED, DEFAULTS, SCHEDULED
from tests.workers.engine.test_spectrum import near_twins
from workers.engine import (
    Checkpoint,
    Data,
    Result,
    Specification,
    Start,
    fit,
    graphs,
    kernel_descent,
    large,
    normal,
    reference,
    spectral,
)  # fmt: skip

ADAM = {"kind": "adam"} | DEFAULTS["adam"][1]
RMSPROP = {"kind": "rmsprop"} | DEFAULTS["rmsprop"][1] | CHANGED[9][1]
HELD_OUT = {"fraction": 0.3, "stratify": False}
EARLY = {
    "monitor": "validation_loss", "patience": 6, "min_delta": 0.0, "restore_best": True,
}  # fmt: skip
RECORD = {"every": 3, "weights": True, "gradients": True}
ALL = [(name, None) for name in FULL_BATCH] + [(name, 8) for name in (*STRATEGIES, "graphs")]


class Written:
    """Checkpoints that are due every so many looks, and come back from a file."""

    def __init__(self, every: int = 1, last: Checkpoint | None = None) -> None:
        self.last = last
        self._every = every
        self._looks = count(1)

    def is_due(self) -> bool:
        return next(self._looks) % self._every == 0

    def write(self, checkpoint: Checkpoint) -> None:
        arrays = {k: np.ascontiguousarray(v) for k, v in checkpoint.to_arrays().items()}
        stored = safetensors.numpy.load(safetensors.numpy.save(arrays))
        self.last = Checkpoint.from_arrays(stored)


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every few steps took milliseconds."""
    for module in (graphs, kernel_descent, large, normal, reference, spectral):
        monkeypatch.setattr(module, "_CHUNK_WORK", 1)


def at_look(n: int) -> Callable[[], bool]:
    """True from the n-th look on."""
    looks = count(1)
    return lambda: next(looks) >= n


def stopped_again_and_again(
    spec: Specification, data: Data, start: Start | None, stops: list[int], every: int = 1
) -> tuple[Result, int]:
    """The fit, stopped at the n-th look for each of `stops`; how often it went on."""
    last = None
    for times, stop in enumerate(stops):
        written = Written(every, last)
        found = fit(spec, data, start=start, checkpoints=written, should_stop=at_look(stop))
        if found.status != "interrupted":
            return found, times
        last = written.last
    return fit(spec, data, start=start, checkpoints=Written(every, last)), len(stops)


def bits(result: Result) -> dict[str, Any]:
    """All of a result but the time that it took."""
    history = {n: getattr(result.history, n) for n in type(result.history).__dataclass_fields__}
    arrays = {
        "history": history,
        "weights": result.weights,
        "initial": result.initial_weights,
        "snapshot": result.snapshot.to_arrays(),
    }
    if result.trajectory is not None:
        arrays["trajectory"] = {
            "step": result.trajectory.step,
            **{f"w.{n}": w for n, w in result.trajectory.weights.items()},
            **{f"g.{n}": g for n, g in result.trajectory.gradients.items()},
        }
    ends = ("status", "n_steps", "total_steps", "failed_step", "final_loss", "strategy", "fallback")
    return {
        "ends": [repr(getattr(result, name)) for name in ends],
        **{
            f"{part}.{name}": (array.dtype, array.shape, array.tobytes())
            for part, of in arrays.items()
            for name, array in of.items()
        },
    }


def assert_one_fit(data: Data | None = None, start: Start | None = None, **changes: Any) -> Result:
    data = noisy_plane(seed=3) if data is None else data
    init = {"kind": "default"} if start is None else CARRIED
    spec = specification(**{"init": init, "steps": 40} | changes)
    whole = fit(spec, data, start=start)

    found, n_stops = stopped_again_and_again(spec, data, start, [4, 1, 6, 9, 2])

    assert n_stops >= 2
    assert bits(found) == bits(whole)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [sgd(momentum=0.9), ADAM, RMSPROP])
@pytest.mark.parametrize(("strategy", "batch_size"), ALL)
def test_every_strategy_is_one_fit(
    strategy: str, batch_size: int | None, optimizer: dict[str, Any], dtype: str
) -> None:
    if strategy == "spectral" and optimizer["kind"] != "sgd":
        strategy = "normal"

    found = assert_one_fit(
        strategy=strategy, batch_size=batch_size, optimizer=optimizer, dtype=dtype
    )

    assert found.strategy == strategy


@pytest.mark.parametrize(("kind", "arguments"), [*((kind, {}) for kind in DEFAULTS), *CHANGED])
def test_every_optimizer_is_one_fit(kind: str, arguments: dict[str, Any]) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1] | arguments

    assert_one_fit(strategy="reference", batch_size=8, optimizer=optimizer)


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("kind", "_", "arguments"), SCHEDULED)
@pytest.mark.parametrize("strategy", ["normal", "kernels", "large"])
def test_every_schedule_is_one_fit(
    strategy: str, kind: str, _: Any, arguments: dict[str, Any], interval: str
) -> None:
    if kind == "reduce_on_plateau" and strategy == "kernels":
        strategy = "reference"
    batch_size = None if strategy == "normal" else 8

    assert_one_fit(
        strategy=strategy,
        batch_size=batch_size,
        optimizer=sgd(momentum=0.5),
        scheduler={"kind": kind, "interval": interval} | arguments,
    )


@pytest.mark.parametrize(("strategy", "batch_size"), ALL[:-1])
def test_early_stopping_and_what_was_recorded_are_one_fit(
    strategy: str, batch_size: int | None
) -> None:
    found = assert_one_fit(
        noisy_plane(30, 12, seed=5), strategy=strategy, batch_size=batch_size, steps=400,
        optimizer=sgd(lr=0.1 if batch_size else 0.3), validation=HELD_OUT,
        early_stopping=EARLY, record=RECORD, standardize=True,
    )  # fmt: skip

    assert found.status == "early_stopped"
    assert found.trajectory is not None


def test_a_schedule_on_a_device_is_one_fit() -> None:
    scheduler = {"kind": "step", "interval": "epoch"} | SCHEDULED[0][2]

    assert_one_fit(strategy="graphs", batch_size=8, optimizer=ADAM, scheduler=scheduler)


@pytest.mark.parametrize(("strategy", "batch_size"), ALL)
def test_divergence_is_one_fit(strategy: str, batch_size: int | None) -> None:
    spec = specification(
        strategy=strategy, batch_size=batch_size, optimizer=sgd(lr=30.0), dtype="float32", steps=40
    )
    data = noisy_plane(seed=3)
    whole = fit(spec, data)

    # then it is, wherever it was stopped before
    assert whole.status == "diverged"
    assert whole.failed_step is not None
    for stop in range(1, whole.failed_step + 2):
        found, _ = stopped_again_and_again(spec, data, None, [stop])
        assert bits(found) == bits(whole)


def test_dropout_and_batch_norm_are_one_fit() -> None:
    for strategy in ("reference", "large"):
        assert_one_fit(strategy=strategy, batch_size=8, model=NETWORK, optimizer=ADAM)


def test_a_fit_that_goes_on_from_another_is_one_fit() -> None:
    data = noisy_plane(seed=3)
    for strategy, batch_size in ALL:
        given_ = {"strategy": strategy, "batch_size": batch_size, "optimizer": sgd(momentum=0.9)}
        first = fit(specification(steps=11, **given_), data)

        assert_one_fit(data, carried(first), **given_)


def test_what_falls_back_is_one_fit() -> None:
    # given squares that are not to be trusted, and steps that enlarge rounding
    twins = assert_one_fit(near_twins(), strategy="spectral", optimizer=sgd(momentum=0.9))
    noise = assert_one_fit(
        noisy_plane(64), strategy="normal", optimizer=ADAM | {"lr": 0.1}, steps=3_000
    )

    assert (twins.strategy, twins.fallback) == ("kernels", "ill_conditioned")
    assert (noise.strategy, noise.fallback) == ("kernels", "sensitive")


def test_the_time_before_a_checkpoint_counts() -> None:
    # given a fit of two seconds that was stopped
    spec = specification(strategy="reference", limits={"max_seconds": 2.0})
    ticks, written = (tick / 10 for tick in count()), Written()
    stopped = fit(
        spec, noisy_plane(), checkpoints=written, clock=ticks.__next__, should_stop=at_look(3)
    )

    found = fit(spec, noisy_plane(), checkpoints=written, clock=ticks.__next__)

    assert written.last is not None
    assert (stopped.status, found.status) == ("interrupted", "time_limit")
    assert stopped.n_steps < found.n_steps < 20
    assert found.compute_seconds > stopped.compute_seconds


def test_what_is_stopped_before_its_rows_are_read_again_keeps_its_checkpoint() -> None:
    spec = specification(strategy="normal", steps=40)
    written = Written()
    fit(spec, noisy_plane(), checkpoints=written, should_stop=at_look(90))
    before = written.last

    found = fit(spec, noisy_plane(), checkpoints=written, should_stop=lambda: True)

    assert before is not None
    assert found.status == "interrupted"
    assert written.last is before


@settings(max_examples=30, deadline=None)
@given(
    case=st.sampled_from(ALL),
    stops=st.lists(st.integers(1, 15), max_size=6),
    every=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_any_moments_will_do(
    case: tuple[str, int | None], stops: list[int], every: int, seed: int
) -> None:
    strategy, batch_size = case
    spec = specification(
        strategy=strategy, batch_size=batch_size, seed=seed, optimizer=sgd(momentum=0.9), steps=30
    )
    data = noisy_plane(seed=seed)

    found, _ = stopped_again_and_again(spec, data, None, stops, every)

    assert bits(found) == bits(fit(spec, data))
