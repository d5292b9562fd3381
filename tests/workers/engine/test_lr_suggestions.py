"""What a range test's curve suggests: torch-lr-finder's steepest point, and fastai's valley."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.workers.engine.given import noisy_plane, specification
from workers.engine import Data
from workers.engine.lr_range import LrRange, lr_range_test
from workers.engine.lr_suggestions import fewest_points, valley


def test_it_suggests_rates_that_fit() -> None:
    # given a problem whose largest stable rate is known
    data = noisy_plane(200)
    stable = 2 / _largest_curvature(data)

    # when the range is tested
    result = lr_range_test(specification(), LrRange(), data)

    # then it ends past that rate, and suggests rates below it
    assert result.stop_reason == "diverged"
    assert result.steepest is not None
    assert result.valley is not None
    assert 1e-7 < result.valley < stable < result.lr[-1]
    assert 1e-7 < result.steepest < stable


def _largest_curvature(data: Data) -> float:
    with_bias = np.column_stack([data.x, np.ones(len(data.x))])
    return float(np.linalg.eigvalsh(2 * with_bias.T @ with_bias / len(data.x))[-1])


@pytest.mark.parametrize(("num_iter", "suggests"), [(2, False), (16, False), (17, True)])
def test_a_curve_too_short_suggests_nothing(num_iter: int, suggests: bool) -> None:
    rule = LrRange(end_lr=1e-3, num_iter=num_iter)

    result = lr_range_test(specification(), rule, noisy_plane())

    assert result.stop_reason == "completed"
    assert len(result.lr) == num_iter
    assert (result.steepest is not None) == (result.valley is not None) == suggests
    short = (
        f"a suggestion needs 17 points, and the curve has {num_iter}, for num_iter is {num_iter}"
    )
    assert result.reason == (None if suggests else short)


def test_a_curve_that_diverged_too_soon_says_at_which_rate() -> None:
    rule = LrRange(start_lr=1.0, end_lr=10.0)

    result = lr_range_test(specification(), rule, noisy_plane())

    assert len(result.lr) < 17
    assert result.steepest is result.valley is None
    assert str(result.reason).endswith(f"diverged at a learning rate of {result.lr[-1]:.3g}")


def longest_valley(loss: list[float]) -> tuple[int, int]:
    """How many points the longest valley has, and where the first such one ends."""
    lengths: list[int] = []
    for i, here in enumerate(loss):
        higher = (lengths[j] for j in range(i) if loss[j] > here)
        lengths.append(1 + max(higher, default=0))
    best = max(lengths)
    return best, lengths.index(best)


@given(st.lists(st.integers(0, 30).map(float), min_size=17, max_size=60), st.integers(2, 170))
def test_the_valley_is_fastais(heights: list[float], num_iter: int) -> None:
    # given any curve, with points enough
    loss = np.array(heights)
    lr = np.arange(1, len(loss) + 1, dtype=np.float64)
    assume(len(loss) >= fewest_points(num_iter))

    # when its valley is looked for
    suggested = valley(lr, loss, num_iter)

    # then it is half of a third past a third of the way along, counted as fastai counts
    skipped = num_iter // 10
    n_points, end = longest_valley(heights[skipped:-5])
    start = 0 if n_points == 1 else end - n_points
    third = (end - start) / 3
    place = start + int(third) + int(third / 2)
    assert suggested == lr[skipped + max(place, 0)]


def test_a_valley_is_found_between_bumps() -> None:
    # given a curve that is flat, falls with bumps on its way, and rises again
    fall = [9.0, 8.0, 8.5, 7.0, 6.0, 6.5, 5.0, 4.0, 3.0]
    loss = np.array([0.0] * 10 + [9.5, 9.4] + fall + [20.0, 30.0, 40.0] + [0.0] * 5)

    # when it is looked at without its ends: 9 points fall, the last of them at 10
    suggested = valley(np.arange(len(loss), dtype=np.float64), loss, 100)

    # then the rate is that of point 10 - 9 + 3 + 1
    assert longest_valley(loss[10:-5].tolist()) == (9, 10)
    assert suggested == 10 + 5
