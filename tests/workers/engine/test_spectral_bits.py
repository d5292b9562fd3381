"""A closed form's bits: however it is cut, read, resumed or stopped."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.alike import (
    assert_one_fit,
    assert_same_descent,
    begun,
    bits,
    computed,
)
from tests.workers.engine.given import mapping, noisy_plane, sgd, specification
from tests.workers.engine.least import Streamed
from tests.workers.engine.test_resuming import CARRIED, carried
from tests.workers.engine.test_spectral import fits
from workers.engine import Data, Specification, Start, fit

LARGE = 200_000


@given(fits(), st.sets(st.integers(1, 39)))
@settings(max_examples=60)
def test_chunks_change_nothing(case: tuple[dict[str, Any], Data], cuts: set[int]) -> None:
    # given a descent made in one go
    spec, data = case
    whole = begun(spec, data, "spectral")
    whole.advance(spec["steps"])

    # when the same is made in pieces
    pieces = begun(spec, data, "spectral")
    for stop in (*sorted(cuts), spec["steps"]):
        if pieces.end is None and pieces.n_steps < stop <= spec["steps"]:
            pieces.advance(stop - pieces.n_steps)

    # then not a bit differs
    assert_same_descent(pieces, whole)
    for descent in (pieces, whole):
        descent.settle()
    assert pieces.final_loss() == whole.final_loss()
    for name, weight in whole.weights().items():
        assert pieces.weights()[name].tobytes() == weight.tobytes()


@given(fits(), st.integers(1, 20), st.integers(1, 20), st.sampled_from(["float32", "float64"]))
@settings(max_examples=60)
def test_two_fits_are_one(
    case: tuple[dict[str, Any], Data], first: int, second: int, dtype: str
) -> None:
    # given a fit cut in two, by the planner's choice
    spec, data = case
    spec |= {"early_stopping": None, "tolerance": None, "dtype": dtype}
    spec["record"] = {"every": 1, "weights": True, "gradients": True}

    whole = computed(spec, data, "auto", steps=first + second)
    begin = computed(spec, data, "auto", steps=first)
    if begin.status == "diverged":
        return
    rest = Specification.from_mapping(spec | {"steps": second, "init": CARRIED})
    end = fit(rest, data, start=carried(begin))

    # then not a bit differs
    assert_one_fit(begin, end, whole, "spectral")


@pytest.mark.parametrize(
    ("one", "other"),
    [(loop, "spectral") for loop in ("reference", "kernels", "streaming")]
    + [("spectral", loop) for loop in ("reference", "kernels", "streaming")],
)
def test_it_goes_on_from_the_loops_and_they_from_it(one: str, other: str) -> None:
    # given half of a fit by one strategy
    data = noisy_plane(n_targets=2, weighted=True)
    changes: dict[str, Any] = {"optimizer": sgd(momentum=0.9, nesterov=True), "steps": 20}
    begin = fit(specification(strategy=one, **changes), data)

    # when the other makes the second half
    end = fit(specification(strategy=other, init=CARRIED, **changes), data, start=carried(begin))

    # then it is the second half of the whole
    whole = fit(specification(strategy="reference", **changes | {"steps": 40}), data)
    np.testing.assert_allclose(end.history.loss, whole.history.loss[20:], rtol=1e-9)
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(end.weights[name], weight, rtol=1e-9)


@pytest.mark.parametrize("changes", [{}, {"penalty": {"l1": 0.0, "l2": 0.5}}])
def test_on_other_rows_it_goes_on_from_the_weights(changes: dict[str, Any]) -> None:
    # given a fit whose rows, or whose loss, are not those of the one that it goes on from
    momentum = {"optimizer": sgd(momentum=0.9)}
    start = carried(fit(specification(**momentum), noisy_plane()))
    other = noisy_plane() if changes else noisy_plane(seed=1)

    found, plain = (
        fit(specification(strategy=s, init=CARRIED, **momentum, **changes), other, start=start)
        for s in ("spectral", "reference")
    )

    np.testing.assert_allclose(found.history.loss, plain.history.loss, rtol=1e-9)


@given(fits())
@settings(max_examples=20)
def test_rows_that_are_streamed_give_the_bits_of_memory(case: tuple[dict[str, Any], Data]) -> None:
    spec, data = case

    found = fit(Specification.from_mapping(spec), source := Streamed(data))

    assert found.strategy == "spectral"
    assert bits(found) == bits(computed(spec, data, "spectral"))
    assert source.reads


def large(**changes: Any) -> tuple[Specification, Streamed]:
    """A fit whose rows are read in several groups."""
    return specification(steps=50, **changes), Streamed(noisy_plane(LARGE, 60))


@pytest.mark.parametrize("weights", [False, True])
def test_a_long_pass_is_interrupted(weights: bool) -> None:
    spec, source = large(record={"every": 1, "weights": weights, "gradients": False})
    looks = count()

    result = fit(spec, source, should_stop=lambda: next(looks) == 1)

    # then it ends within the pass, and has lost nothing that it had
    assert (result.status, result.n_steps, result.strategy) == ("interrupted", 0, "spectral")
    assert sum(stop - first for first, stop in source.reads) < LARGE
    for name, weight in result.initial_weights.items():
        assert result.weights[name].tobytes() == weight.tobytes()
    resumed = fit(
        replace(spec, init=specification(init=CARRIED).init),
        source,
        start=Start(result.weights, result.snapshot),
    )
    assert resumed.history.loss.tobytes() == fit(spec, source).history.loss.tobytes()


def test_a_long_pass_ends_at_the_time_limit_with_its_loss() -> None:
    spec, source = large(limits={"max_seconds": 2})
    ticks = count()

    result = fit(spec, source, clock=lambda: next(ticks))

    assert (result.status, result.n_steps) == ("time_limit", 0)
    whole = fit(spec, source)
    assert result.final_loss == pytest.approx(whole.history.loss[0], rel=1e-12)


def test_one_pass_is_enough_and_another_for_the_final_loss() -> None:
    spec, source = large(optimizer=sgd(momentum=0.9))

    result = fit(spec, source)

    assert result.status == "completed"
    assert sum(stop - first for first, stop in source.reads) == 2 * LARGE


@pytest.fixture
def affinity() -> Iterator[Callable[[int], None]]:
    """Sets how many cores the process may run on, and gives them back."""
    before = os.sched_getaffinity(0)
    yield lambda n: os.sched_setaffinity(0, set(list(before)[:n]))
    os.sched_setaffinity(0, before)


def test_the_number_of_cores_changes_no_bit(affinity: Callable[[int], None]) -> None:
    spec = Specification.from_mapping(mapping(steps=50))
    data = noisy_plane(LARGE, 60)
    found = []
    for n_cores in (2, 1):
        affinity(n_cores)
        found.append(fit(spec, data))

    assert found[1].n_threads == 1
    assert found[0].history.loss.tobytes() == found[1].history.loss.tobytes()
    assert found[0].weights["weight"].tobytes() == found[1].weights["weight"].tobytes()


def test_a_perfect_line_is_descended_to_the_last_digit() -> None:
    # given points of a line
    x = np.linspace(-1, 1, 100)[:, None]
    data = Data(x, 2 * x + 3)

    # when they are descended for long
    losses = {}
    for strategy in ("spectral", "reference"):
        spec = specification(optimizer=sgd(lr=0.5), steps=200, strategy=strategy)
        result = fit(spec, data)
        losses[strategy] = np.array([*result.history.loss, result.final_loss])

    # then the loss falls as far as the plain loop's, and is never below 0
    assert (losses["spectral"] >= 0).all()
    assert losses["spectral"][-1] < 1e-28
    falling = losses["reference"] > 1e-25
    np.testing.assert_allclose(losses["spectral"][falling], losses["reference"][falling], rtol=1e-3)
