"""Where a learning-rate range test ends, and what it refuses."""

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.test_checkpoints import Written, at_look
from tests.workers.engine.test_lr_range import assert_same_curve
from tests.workers.engine.test_rules import DEFAULTS
from workers.engine import Data, Progress, SpecificationError
from workers.engine.lr_range import LrRange, lr_range_test


def test_the_widest_range_is_walked_through() -> None:
    rule = LrRange(start_lr=1e-154, end_lr=1e154, num_iter=50)

    result = lr_range_test(specification(), rule, noisy_plane())

    assert result.stop_reason == "diverged"
    assert np.isfinite([result.lr, result.loss, result.raw_loss]).all()


def test_a_loss_past_the_threshold_is_the_last_point() -> None:
    result = lr_range_test(specification(), LrRange(), noisy_plane())

    assert result.stop_reason == "diverged"
    assert result.loss[-1] > 5 * result.loss.min()
    assert (result.loss[:-1] <= 5 * np.minimum.accumulate(result.loss[:-1])).all()


def test_a_loss_that_is_never_finite_has_no_point() -> None:
    # given a target whose square no float32 can hold
    data = Data(x=np.ones((4, 1)), y=np.full((4, 1), 1e30))

    result = lr_range_test(specification(dtype="float32"), LrRange(), data)

    assert len(result.lr) == len(result.loss) == len(result.raw_loss) == 0
    assert (result.stop_reason, result.steepest, result.valley) == ("diverged", None, None)
    assert result.reason is not None
    assert result.reason.endswith("the curve has 0, for a loss or a weight after it was not finite")


def test_what_is_not_finite_ends_a_curve_that_no_threshold_ends() -> None:
    # given steps that leave float32, and a threshold that no loss passes
    spec = specification(dtype="float32")

    result = lr_range_test(spec, LrRange(end_lr=1e9, diverge_th=1e300), noisy_plane())

    # then the points before are kept, and suggest something
    assert result.stop_reason == "diverged"
    assert 17 <= len(result.lr) < 100
    assert np.isfinite([result.lr, result.loss, result.raw_loss]).all()
    assert result.steepest in result.lr
    assert result.valley in result.lr


def test_the_loss_before_an_update_that_overflows_is_a_point() -> None:
    # given a first update that no float32 can hold, from a loss that one can
    data = Data(x=np.full((4, 1), 1e3), y=np.full((4, 1), 1e15))
    spec = specification(init={"kind": "zeros"}, dtype="float32")

    result = lr_range_test(spec, LrRange(start_lr=1e18, end_lr=1e19), data)
    worse = lr_range_test(spec, LrRange(start_lr=1e18, end_lr=1e19), replace(data, x=data.x * 1e3))

    # then its second loss is not finite, or its first weights are not
    for one in (result, worse):
        assert (one.stop_reason, len(one.lr)) == ("diverged", 1)
        np.testing.assert_allclose(one.raw_loss, [1e30], rtol=1e-6)


def test_a_loss_below_zero_ends_the_test_at_once() -> None:
    # given a loss that is below zero from the start
    data = Data(x=np.ones((4, 1)), y=np.full((4, 1), 5.0))
    spec = specification(
        loss={"kind": "poisson"}, init={"weights": {"weight": [[0.5]], "bias": [0.5]}}
    )

    result = lr_range_test(spec, LrRange(), data)

    assert (result.stop_reason, len(result.lr)) == ("diverged", 1)
    assert result.raw_loss[0] < 0


def test_a_test_that_is_stopped_keeps_its_points_and_suggests_nothing() -> None:
    asked = count(1)

    result = lr_range_test(
        specification(), LrRange(), noisy_plane(), should_stop=lambda: next(asked) > 30
    )

    assert (result.stop_reason, len(result.lr)) == ("interrupted", 30)
    assert result.steepest is result.valley is None
    assert result.reason == "the test was interrupted after 30 of 100 iterations"


@pytest.mark.parametrize("optimizer", [sgd(momentum=0.9), {"kind": "adam"} | DEFAULTS["adam"][1]])
@pytest.mark.parametrize("strategy", ["reference", "large", "streaming"])
def test_one_that_is_stopped_again_and_again_is_one_test(
    strategy: str, optimizer: dict[str, Any]
) -> None:
    spec = specification(strategy=strategy, optimizer=optimizer, batch_size=8, dtype="float32")
    rule = LrRange(end_lr=100.0, num_iter=60)
    whole = lr_range_test(spec, rule, noisy_plane())

    last = None
    for stop in (5, 1, 20, 3):
        written = Written(every=3, last=last)
        found = lr_range_test(
            spec, rule, noisy_plane(), checkpoints=written, should_stop=at_look(stop)
        )
        assert found.stop_reason == "interrupted"
        last = written.last
    found = lr_range_test(spec, rule, noisy_plane(), checkpoints=Written(last=last))

    assert last is not None
    assert last.n_steps > 20
    assert_same_curve(found, whole)


def test_progress_is_passed_on_four_times_a_second() -> None:
    # given a clock that goes on by a fifth of a second an iteration
    ticks = count()
    seen: list[Progress] = []

    result = lr_range_test(
        specification(batch_size=10),
        LrRange(end_lr=1e-3, num_iter=20),
        noisy_plane(),
        on_progress=seen.append,
        clock=lambda: next(ticks) / 10,
    )

    assert [one.step for one in seen] == [*range(2, 21, 2)]
    assert {one.total_steps for one in seen} == {20}
    assert [one.epoch for one in seen] == [(one.step - 1) // 5 for one in seen]
    for one in seen:
        assert one.loss == result.raw_loss[one.step - 1]
        assert one.lr == result.lr[one.step - 1]
    assert result.compute_seconds > 2


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"num_iter": 1}, "/num_iter"),
        ({"num_iter": 0}, "/num_iter"),
        ({"start_lr": 0.0}, "/start_lr"),
        ({"start_lr": -1.0}, "/start_lr"),
        ({"start_lr": float("nan")}, "/start_lr"),
        ({"start_lr": 10.0}, "/end_lr"),
        ({"end_lr": 1e-8}, "/end_lr"),
        ({"end_lr": float("inf")}, "/end_lr"),
        ({"end_lr": float("nan")}, "/end_lr"),
        ({"step_mode": "log"}, "/step_mode"),
        ({"smooth_f": 1.0}, "/smooth_f"),
        ({"smooth_f": -0.1}, "/smooth_f"),
        ({"diverge_th": 0.0}, "/diverge_th"),
        ({"diverge_th": float("nan")}, "/diverge_th"),
    ],
)
def test_a_range_that_cannot_be_tested_is_refused(arguments: Any, pointer: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        LrRange(**arguments)

    assert refused.value.pointer == pointer


def test_a_rate_past_the_dtype_is_refused() -> None:
    for rule, pointer in ((LrRange(end_lr=1e30), "/end_lr"), (LrRange(1e-30), "/start_lr")):
        with pytest.raises(SpecificationError, match="float32 has room for rates from") as refused:
            lr_range_test(specification(dtype="float32"), rule, noisy_plane())
        assert refused.value.pointer == pointer

    # and the largest that is not refused is no error
    result = lr_range_test(
        specification(dtype="float32", optimizer={"kind": "adam", "lr": 1.0}),
        LrRange(end_lr=1e19),
        noisy_plane(),
    )
    assert result.stop_reason == "diverged"


def test_rows_that_count_nothing_are_refused() -> None:
    nothing = replace(noisy_plane(), weight=np.zeros(50))

    with pytest.raises(ValueError, match="no row counts"):
        lr_range_test(specification(), LrRange(), nothing)


def test_what_no_fit_could_begin_with_is_refused() -> None:
    spec = specification(batch_size=64, drop_last=True)

    with pytest.raises(SpecificationError, match="/batch_size"):
        lr_range_test(spec, LrRange(), noisy_plane())
