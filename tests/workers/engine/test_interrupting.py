"""A fit that is to end while a step, or what comes between steps, takes long."""

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.test_large import NETWORK
from workers.engine import (
    Checkpoint,
    Data,
    Interrupted,
    Result,
    RowSource,
    Shape,
    aside,
    fit,
    interrupting,
    kernel_descent,
    look,
    looking,
    wait_for_others,
)

LBFGS = {
    "kind": "lbfgs", "lr": 0.5, "max_iter": 4, "max_eval": None, "tolerance_grad": 0.0,
    "tolerance_change": 0.0, "history_size": 3, "line_search_fn": None,
}  # fmt: skip
ADAM = {
    "kind": "adam", "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
    "amsgrad": False,
}  # fmt: skip
NORMED = NETWORK | {"batch_norm": True, "dropout": 0.2}
HELD_OUT = {"fraction": 0.25, "stratify": False}
# Whatever takes a while in a step: closures, one large call, parts of a batch, tiles of it.
WITHIN_STEPS: dict[str, dict[str, Any]] = {
    "search": {"optimizer": LBFGS, "strategy": "reference"},
    "line search": {
        "optimizer": LBFGS | {"line_search_fn": "strong_wolfe"}, "strategy": "reference",
        "model": NETWORK,
    },
    "whole batch": {"optimizer": ADAM, "strategy": "reference", "model": NORMED, "batch_size": 40},
    "large whole batch": {"optimizer": ADAM, "strategy": "large", "model": NORMED},
    "windows": {"optimizer": ADAM, "strategy": "streaming", "model": NETWORK},
    "tiles": {"optimizer": ADAM, "strategy": "kernels", "model": NETWORK, "batch_size": 2_000},
}  # fmt: skip


class Kept:
    """Checkpoints that are written whenever they may be."""

    def __init__(self, last: Checkpoint | None = None) -> None:
        self.last = last

    def is_due(self) -> bool:
        return True

    def write(self, checkpoint: Checkpoint) -> None:
        self.last = Checkpoint.from_arrays(checkpoint.to_arrays())


def rows_of(name: str) -> Data | RowSource:
    """Tiles have hundreds of rows."""
    data = noisy_plane(2_500 if name == "tiles" else 160)
    return Streamed(data) if name == "windows" else data


@pytest.fixture(autouse=True)
def everything_takes_long(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Little work is much here, so that a test need not wait; no thread is left to the next one."""
    for module in ("reference", "normal_equations"):
        monkeypatch.setattr(f"workers.engine.{module}.MUCH_WORK", 0)
    monkeypatch.setattr(interrupting, "wait", looking_once())
    monkeypatch.setattr(kernel_descent, "_PAUSE_WORK", 1)
    monkeypatch.setattr("workers.engine.streaming.WINDOW_BYTES", 2_000)
    yield
    wait_for_others()


def looking_once() -> Callable[[list[Any], float], Any]:
    """A `wait` that finds nothing done when it is first asked, and then waits to the end."""
    asked: set[int] = set()

    def wait(futures: list[Any], _: float) -> Any:
        if id(futures[0]) in asked:
            return concurrent.futures.wait(futures)
        asked.add(id(futures[0]))
        alive.append(futures[0])
        return concurrent.futures.wait([])

    alive: list[Any] = []
    return wait


def stop_at(number: int) -> Callable[[], bool]:
    looks = count()
    return lambda: next(looks) >= number


def numbers(result: Result, *, n_losses: int | None = None) -> list[bytes]:
    """What a fit came to, to the last bit; of its history so many steps."""
    history = (result.history.loss, result.history.grad_norm, result.history.lr)
    arrays = [*(array[:n_losses] for array in history), *result.weights.values()]
    state = result.snapshot.to_arrays()
    return [array.tobytes() for array in (*arrays, *(state[name] for name in sorted(state)))]


class Streamed:
    """A source that memory does not hold."""

    def __init__(self, data: Data) -> None:
        self._data = data

    @property
    def shape(self) -> Shape:
        return self._data.shape

    @property
    def weighted(self) -> bool:
        return self._data.weighted

    def read(self, first: int, stop: int) -> Data:
        return self._data.read(first, stop)


@pytest.mark.parametrize("name", WITHIN_STEPS)
def test_a_step_that_is_interrupted_has_not_been_made(name: str) -> None:
    # given a fit that is looked at many times a step
    changes, rows = WITHIN_STEPS[name], rows_of(name)
    undisturbed = fit(specification(steps=4, **changes), rows)

    # when it is stopped at each look
    cut: Result | None = None
    met = set()
    for number in range(1, 200):
        kept = Kept()
        try:
            cut = fit(
                specification(steps=4, **changes), rows,
                should_stop=stop_at(number), checkpoints=kept,
            )  # fmt: skip
        except Interrupted:
            continue
        if cut.status != "interrupted":
            break
        n_steps = cut.n_steps
        met.add(n_steps)
        assert cut.failed_step is None
        assert len(cut.history.loss) == n_steps

        # then it is where a fit of so many steps is
        if n_steps:
            whole = fit(specification(steps=n_steps, **changes), rows)
            assert numbers(cut) == numbers(whole)
        # and goes on from there to the same end
        resumed = fit(specification(steps=4, **changes), rows, checkpoints=kept)
        assert numbers(resumed) == numbers(undisturbed)
        wait_for_others()

    # and it was never changed by being looked at
    assert met >= {0, 1, 2, 3}
    assert cut is not None
    assert numbers(cut) == numbers(undisturbed)


@pytest.mark.parametrize("name", WITHIN_STEPS)
def test_the_time_limit_holds_within_a_step(name: str) -> None:
    # given a clock that goes on by a second whenever it is looked at
    changes, rows = WITHIN_STEPS[name], rows_of(name)
    ticks = count()
    spec = specification(steps=10_000, limits={"max_seconds": 40}, **changes)

    # when it is fitted
    result = fit(spec, rows, clock=lambda: float(next(ticks)))

    # then it ends there, and has the loss of the weights that it gives
    assert result.status == "time_limit"
    assert next(ticks) < 60
    assert len(result.history.loss) == result.n_steps
    assert result.final_loss is not None
    if result.n_steps:
        whole = fit(specification(steps=result.n_steps, **changes), rows)
        assert numbers(result) == numbers(whole)
        assert result.final_loss == whole.final_loss


@pytest.mark.parametrize("strategy", ["reference", "kernels", "large"])
def test_an_epochs_end_that_is_interrupted_is_not_the_place_to_go_on_from(strategy: str) -> None:
    # given a fit whose rate follows from the loss on rows that are held out
    early = {
        "monitor": "validation_loss", "patience": 50, "min_delta": 0.0, "restore_best": True
    }  # fmt: skip
    spec = specification(
        epochs=6, batch_size=30, strategy=strategy, model=NETWORK, optimizer=ADAM,
        validation=HELD_OUT, early_stopping=early,
        record={"every": 1, "weights": True, "gradients": False},
    )  # fmt: skip
    data = noisy_plane(160)
    undisturbed = fit(spec, data)

    # when it is stopped at each look
    owing = 0
    for number in range(1, 400):
        kept = Kept()
        cut = fit(spec, data, should_stop=stop_at(number), checkpoints=kept)
        if cut.status != "interrupted":
            break
        # then what was recorded belongs together
        n_losses = len(cut.history.loss)
        assert cut.trajectory is not None
        assert all(len(array) == n_losses for array in cut.trajectory.weights.values())
        losses = cut.history.epochs_validation_loss
        owing += n_losses % 4 == 0 and n_losses > 0 and np.isnan(losses[-1])

        # and it goes on to the same end from the last place where all was done
        resumed = fit(spec, data, checkpoints=kept)
        assert numbers(resumed) == numbers(undisturbed)
        np.testing.assert_array_equal(
            resumed.history.epochs_validation_loss, undisturbed.history.epochs_validation_loss
        )
        wait_for_others()
    assert owing > 0
    assert cut.status == "completed"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pauses_within_a_batch_change_no_bit(
    weighted: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noisy_plane(5_000, weighted=weighted)
    spec = specification(
        dtype=dtype, strategy="kernels", optimizer=ADAM, model=NETWORK, batch_size=3_000,
        validation=HELD_OUT, penalty={"l1": 0.01, "l2": 0.1}, clip_grad_norm=1.0,
    )  # fmt: skip
    looks = count()

    paused = fit(spec, data, should_stop=lambda: next(looks) < 0)
    n_looks = next(looks)
    monkeypatch.setattr(kernel_descent, "_PAUSE_WORK", 2**40)
    at_once = fit(spec, data, should_stop=lambda: next(looks) < 0)

    assert n_looks > 20 > next(looks) - n_looks
    assert numbers(paused) == numbers(at_once)
    assert paused.final_loss == at_once.final_loss
    np.testing.assert_array_equal(
        paused.history.epochs_validation_loss, at_once.history.epochs_validation_loss
    )


@pytest.mark.parametrize("strategy", ["spectral", "normal"])
def test_a_long_pass_over_the_rows_is_interrupted(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given rows of which a pass takes long, and algebra that does
    monkeypatch.setattr("workers.engine.spectrum._WIDE", 1)
    data = noisy_plane(20_000, 30)
    spec = specification(strategy=strategy, validation=HELD_OUT)

    # when it is stopped as soon as that has begun
    cut = fit(spec, data, should_stop=stop_at(1))

    # then no step was made, and the next fit has the bits of one that nobody looks at
    assert (cut.status, cut.n_steps) == ("interrupted", 0)
    np.testing.assert_array_equal(cut.weights["weight"], cut.initial_weights["weight"])
    wait_for_others()
    assert numbers(fit(spec, data)) == numbers(_unwatched(spec, data, monkeypatch))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("strategy", ["spectral", "normal"])
def test_the_time_limit_holds_within_a_pass_over_the_rows(strategy: str, streamed: bool) -> None:
    # given rows of which a pass takes long, and a clock that goes on whenever it is looked at
    data = noisy_plane(20_000, 30)
    ticks = count()
    spec = specification(strategy=strategy, limits={"max_seconds": 2})

    # when the time is over within the first pass
    rows = Streamed(data) if streamed else data
    cut = fit(spec, rows, clock=lambda: float(next(ticks)))

    # then it was not gone through, and it has the loss of the weights that it began with
    assert (cut.status, cut.n_steps) == ("time_limit", 0)
    assert cut.squares is None
    np.testing.assert_array_equal(cut.weights["weight"], cut.initial_weights["weight"])
    residuals = data.y - data.x @ cut.weights["weight"].T - cut.weights["bias"]
    assert cut.final_loss == pytest.approx(np.mean(residuals**2))


def _unwatched(spec: Any, data: Data, monkeypatch: pytest.MonkeyPatch) -> Result:
    with monkeypatch.context() as patched:
        patched.setattr("workers.engine.spectrum._WIDE", 10**6)
        patched.setattr("workers.engine.normal_equations.MUCH_WORK", 2**60)
        return fit(spec, data)


def test_a_fit_is_interrupted_while_its_rows_are_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.fitting._MUCH_BYTES", 0)
    spec = specification(standardize=True, validation=HELD_OUT)

    with pytest.raises(Interrupted):
        fit(spec, noisy_plane(300_000, 10), should_stop=lambda: True)


def test_a_fit_that_is_interrupted_when_its_steps_are_made_was_interrupted() -> None:
    # given a fit whose best weights are not its last ones, stopped while its loss is summed
    early = {"monitor": "train_loss", "patience": 50, "min_delta": 0.0, "restore_best": True}
    spec = specification(steps=9, optimizer=sgd(lr=1.2), early_stopping=early, strategy="kernels")
    data = noisy_plane(50_000)
    looks = count()

    whole = fit(spec, data, should_stop=lambda: next(looks) < 0)
    cut = fit(spec, data, should_stop=stop_at(next(looks) - 2))

    # then it has its last weights, as a fit has that is to go on
    assert (whole.status, cut.status, cut.n_steps) == ("completed", "interrupted", 9)
    assert cut.final_loss is None
    last = fit(specification(steps=9, optimizer=sgd(lr=1.2), strategy="kernels"), data)
    np.testing.assert_array_equal(cut.weights["weight"], last.weights["weight"])
    assert not np.array_equal(whole.weights["weight"], last.weights["weight"])


def test_what_runs_aside_gives_what_it_gives() -> None:
    with looking(lambda: None):
        assert aside(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            aside(lambda: 1 // 0)


def test_what_nobody_looks_at_has_no_thread_of_its_own() -> None:
    assert aside(threading.get_ident) == threading.get_ident()
    with looking(lambda: None):
        assert aside(threading.get_ident) != threading.get_ident()


def test_what_is_left_alone_ends_at_its_own_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupting, "wait", concurrent.futures.wait)

    # given a task within a task, which would go on for ever
    ended = threading.Event()

    def go_on() -> None:
        try:
            while True:
                look()
                time.sleep(1e-4)
        finally:
            ended.set()

    # when nobody wants it any more
    def stop() -> None:
        raise Interrupted

    with looking(stop), pytest.raises(Interrupted):
        aside(lambda: aside(go_on))

    # then it ends, and is waited for
    wait_for_others()
    assert ended.is_set()
    assert not interrupting.are_others_left()
