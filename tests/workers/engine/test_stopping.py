"""How a fit shows its progress, and ends before its last step."""

from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, noisy_plane, specification
from workers.engine import Progress, Result, fit

MANY = 10**6
# Those that make a step at once: normal equations are rehearsed first.
AT_ONCE = [name for name in FULL_BATCH if name != "normal"]


def clock_of(seconds_a_look: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever it is looked at."""
    ticks = count()
    return lambda: next(ticks) * seconds_a_look


@pytest.mark.parametrize("strategy", AT_ONCE)
def test_a_fit_is_interrupted(strategy: str) -> None:
    # given one that is to stop at the third look
    looks = count()
    spec = specification(steps=MANY, strategy=strategy)

    # when it is fitted
    result = fit(spec, noisy_plane(), should_stop=lambda: next(looks) == 2)

    # then it ends early, with the history up to there
    assert result.status == "interrupted"
    assert 0 < result.n_steps < result.total_steps == MANY
    assert len(result.history.loss) == result.n_steps
    assert result.failed_step is None

    # and its weights are those of a fit of so many steps
    same = fit(specification(steps=result.n_steps, strategy=strategy), noisy_plane())
    np.testing.assert_array_equal(result.weights["weight"], same.weights["weight"])


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_fit_that_is_stopped_before_it_begins_keeps_its_weights(strategy: str) -> None:
    result = fit(specification(strategy=strategy), noisy_plane(), should_stop=lambda: True)
    assert (result.status, result.n_steps, len(result.history.loss)) == ("interrupted", 0, 0)
    np.testing.assert_array_equal(result.weights["weight"], result.initial_weights["weight"])


@pytest.mark.parametrize("strategy", AT_ONCE)
def test_a_fit_ends_at_its_time_limit(strategy: str) -> None:
    # given a limit of ten looks at the clock
    spec = specification(steps=MANY, limits={"max_seconds": 10}, strategy=strategy)

    # when it is fitted
    result = fit(spec, noisy_plane(), clock=clock_of(1.0))

    # then it ends there
    assert result.status == "time_limit"
    assert 0 < result.n_steps < MANY


def test_normal_equations_end_at_the_time_limit_while_they_are_rehearsed_and_after() -> None:
    # given a descent of many chunks, which takes so many looks at the clock
    ticks = count()
    many = specification(steps=300_000, strategy="normal")
    whole = fit(many, noisy_plane(), clock=lambda: float(next(ticks)))
    n_looks = next(ticks)
    assert (whole.status, whole.strategy) == ("completed", "normal")

    def limited(seconds: int) -> Result:
        limits = {"max_seconds": seconds}
        spec = specification(steps=300_000, strategy="normal", limits=limits)
        return fit(spec, noisy_plane(), clock=clock_of(1.0))

    # when its time is over while it is rehearsed, and when that is done
    early, late = limited(5), limited(n_looks - 10)

    # then it ends there
    assert (early.status, early.n_steps) == ("time_limit", 0)
    np.testing.assert_array_equal(early.weights["weight"], early.initial_weights["weight"])
    assert early.final_loss is not None
    assert late.status == "time_limit"
    assert 0 < late.n_steps < 300_000
    np.testing.assert_array_equal(late.history.loss, whole.history.loss[: late.n_steps])


@pytest.mark.parametrize(
    ("strategy", "per_epoch"), [("spectral", 1), *((name, 2) for name in STRATEGIES)]
)
def test_progress_is_shown_at_most_four_times_a_second(strategy: str, per_epoch: int) -> None:
    # given a clock that goes on by a tenth of a second a look
    seen: list[Progress] = []
    looks = count()
    spec = specification(steps=MANY, batch_size=50 // per_epoch, strategy=strategy)

    # when some progress has been made
    result = fit(
        spec,
        noisy_plane(n_rows=50),
        on_progress=seen.append,
        should_stop=lambda: next(looks) == 5,
        clock=clock_of(0.1),
    )

    # then it was shown, but not after every chunk
    assert 0 < len(seen) < 5
    for progress in seen:
        last = progress.step - 1
        assert progress.total_steps == MANY
        assert progress.epoch == last // per_epoch
        assert progress.loss == result.history.loss[last]
        assert progress.lr == result.history.lr[last]
        finished = progress.step // per_epoch - 1
        assert progress.last_epoch is not None
        assert progress.last_epoch.epoch == finished
        assert progress.last_epoch.train_loss == result.history.epochs_train_loss[finished]
        assert progress.last_epoch.validation_loss is None
