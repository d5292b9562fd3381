"""A fit that is to end while a step, or what comes between steps, takes long."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.interrupted import (
    ADAM,
    HELD_OUT,
    Kept,
    Streamed,
    have_asides_looked_at_once,
    have_everything_take_long,
    n_looks,
    numbers,
    stop_at,
)
from tests.workers.engine.test_large import NETWORK
from tests.workers.engine.test_spectrum import near_twins
from workers.engine import (
    Data,
    Interrupted,
    Result,
    RowSource,
    fit,
    kernel_descent,
    wait_for_others,
)

LBFGS = {
    "kind": "lbfgs", "lr": 0.5, "max_iter": 4, "max_eval": None, "tolerance_grad": 0.0,
    "tolerance_change": 0.0, "history_size": 3, "line_search_fn": None,
}  # fmt: skip
NORMED = NETWORK | {"batch_norm": True, "dropout": 0.2}
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
    "squares that are not safe": {"optimizer": sgd(momentum=0.9), "strategy": "spectral"},
}  # fmt: skip


def rows_of(name: str) -> Data | RowSource:
    """Tiles have hundreds of rows."""
    if name == "squares that are not safe":
        twins = near_twins()
        return Data(np.tile(twins.x, (20, 1)), np.tile(twins.y, (20, 1)))
    data = noisy_plane(2_500 if name == "tiles" else 160)
    return Streamed(data) if name == "windows" else data


@pytest.fixture(autouse=True)
def everything_takes_long(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that a test need not wait; no thread is left to the next one."""
    have_everything_take_long(monkeypatch)
    have_asides_looked_at_once(monkeypatch)
    yield
    wait_for_others()


def of_steps(fitted: Callable[..., Result], n_steps: int, **changes: Any) -> Result:
    """The fit of so many steps that nobody stops; one of none is stopped before it begins."""
    if n_steps == 0:
        return fitted(steps=1, should_stop=lambda: True, **changes)
    return fitted(steps=n_steps, **changes)


@pytest.mark.parametrize("name", WITHIN_STEPS)
def test_a_step_that_is_interrupted_has_not_been_made(name: str) -> None:
    # given a fit of four steps that is looked at many times a step
    rows = rows_of(name)

    def fitted(*, steps: int = 4, **how: Any) -> Result:
        return fit(specification(steps=steps, **WITHIN_STEPS[name]), rows, **how)

    whole = cache(partial(of_steps, fitted))
    looks = n_looks(lambda ask: fitted(should_stop=ask))

    # when it is stopped at each look but the last ones, which are for its final loss
    met = []
    for number in range(looks):
        kept = Kept()
        cut = fitted(should_stop=stop_at(number), checkpoints=kept)
        met.append(cut.n_steps)

        # then it is where a fit of so many steps is
        assert (cut.status, cut.failed_step) == ("interrupted", None)
        assert len(cut.history.loss) == cut.n_steps
        assert numbers(cut) == numbers(whole(cut.n_steps))
        # and goes on from there to the same end
        assert numbers(fitted(checkpoints=kept)) == numbers(whole(4))
        wait_for_others()

    # and it was cut within every step
    assert met == sorted(met)
    assert set(met) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", WITHIN_STEPS)
def test_the_time_limit_holds_within_a_step(name: str) -> None:
    # given a clock that goes on by a second whenever it is looked at
    rows, changes = rows_of(name), WITHIN_STEPS[name]

    def fitted(steps: int, max_seconds: float = 1e9, **own: Any) -> tuple[Result, int]:
        ticks = count()
        spec = specification(steps=steps, limits={"max_seconds": max_seconds}, **changes | own)
        return fit(spec, rows, clock=lambda: float(next(ticks))), next(ticks)

    @cache
    def whole(n_steps: int, strategy: str) -> Result:
        # Before its first step a fit that is to fall back may not know of it yet.
        return fitted(n_steps)[0] if n_steps else fitted(1, max_seconds=0, strategy=strategy)[0]

    # when its time is over at any second of the first steps
    met = set()
    for limit in range(1, fitted(3)[1]):
        cut, seconds = fitted(10_000, limit)
        met.add(cut.n_steps)

        # then it ends soon, and has the loss of the weights that it gives
        assert cut.status == "time_limit"
        assert seconds <= limit + 3
        undisturbed = whole(cut.n_steps, cut.strategy)
        assert numbers(cut) == numbers(undisturbed)
        assert cut.final_loss == undisturbed.final_loss is not None
    assert met >= {0, 1, 2}


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
    looks = n_looks(lambda ask: fit(spec, data, should_stop=ask))

    # when it is stopped at each look
    owing = 0
    for number in range(looks):
        kept = Kept()
        cut = fit(spec, data, should_stop=stop_at(number), checkpoints=kept)

        # then what was recorded belongs together
        n_losses = len(cut.history.loss)
        assert (cut.status, cut.n_steps) == ("interrupted", n_losses)
        assert cut.trajectory is not None
        assert [len(array) for array in cut.trajectory.weights.values()] == [n_losses] * (
            len(cut.weights) if n_losses else 0
        )
        owing += n_losses % 4 == 0 and bool(np.isnan(cut.history.epochs_validation_loss[-1:]).any())

        # and it goes on to the same end from the last place where all was done
        resumed = fit(spec, data, checkpoints=kept)
        assert numbers(resumed) == numbers(undisturbed)
        np.testing.assert_array_equal(
            resumed.history.epochs_validation_loss, undisturbed.history.epochs_validation_loss
        )
        wait_for_others()
    # Each epoch's end was met.
    assert owing == 6


def test_an_overflow_is_seen_though_a_later_step_is_interrupted() -> None:
    # given a fit whose sixth step overflows, which is looked at once a chunk of steps
    schedule = {"kind": "multistep", "interval": "step", "milestones": [5], "gamma": 1e41}
    plane = noisy_plane()
    data = Data(x=plane.x, y=1e3 * plane.y)

    def fitted(*, steps: int = 20, **how: Any) -> Result:
        spec = specification(
            steps=steps, strategy="large", model=NETWORK, optimizer=sgd(lr=1e-3),
            scheduler=schedule, dtype="float32", batch_size=16,
        )  # fmt: skip
        return fit(spec, data, **how)

    whole = cache(partial(of_steps, fitted))
    assert fitted().failed_step == 5

    # when it is stopped at each step
    cuts = [fitted(should_stop=stop_at(number)) for number in range(1, 12)]

    # then it ends after the last one that was whole, and what has failed has failed
    assert [cut.n_steps for cut in cuts] == [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5]
    assert [cut.failed_step for cut in cuts] == [None] * 6 + [5] * 5
    for cut in cuts:
        for name, weight in whole(cut.n_steps).weights.items():
            np.testing.assert_array_equal(cut.weights[name], weight)


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
