"""The bits of a descent on normal equations: however it is cut, read, resumed or stopped."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.workers.engine.alike import (
    assert_one_fit,
    assert_same_descent,
    begun,
    bits,
    computed,
)
from tests.workers.engine.given import mapping, noisy_plane, specification
from tests.workers.engine.least import Streamed
from tests.workers.engine.test_normal import ADAM, RULES, fits
from tests.workers.engine.test_resuming import CARRIED, carried
from tests.workers.engine.test_rules import DEFAULTS, SCHEDULED
from workers.engine import Data, Specification, fit


@given(fits(), st.sets(st.integers(1, 39)))
@settings(max_examples=60)
def test_chunks_change_nothing(case: tuple[dict[str, Any], Data], cuts: set[int]) -> None:
    # given a descent made in one go
    spec, data = case
    whole = begun(spec, data, "normal")
    whole.advance(spec["steps"])

    # when the same is made in pieces
    pieces = begun(spec, data, "normal")
    for stop in (*sorted(cuts), spec["steps"]):
        if (pieces.end, pieces.failed_step) == (None, None) and pieces.n_steps < stop:
            pieces.advance(min(stop, spec["steps"]) - pieces.n_steps)

    # then not a bit differs
    assert_same_descent(pieces, whole)


@given(fits(), st.integers(1, 20), st.integers(1, 20), st.sampled_from(["float32", "float64"]))
@settings(max_examples=50)
def test_two_fits_are_one(
    case: tuple[dict[str, Any], Data], first: int, second: int, dtype: str
) -> None:
    # given a fit cut in two
    spec, data = case
    spec |= {"early_stopping": None, "tolerance": None, "dtype": dtype, "strategy": "normal"}
    spec["record"] = {"every": 1, "weights": True, "gradients": True}
    # A cycle's length must be that of both.
    assume(spec["scheduler"] is None or spec["scheduler"]["kind"] != "one_cycle")

    whole = computed(spec, data, "normal", steps=first + second)
    begin = computed(spec, data, "normal", steps=first)
    assume(whole.strategy == "normal" and begin.status != "diverged")
    rest = Specification.from_mapping(spec | {"steps": second, "init": CARRIED, "strategy": "auto"})
    end = fit(rest, data, start=carried(begin))

    # Each is rehearsed: one that is sensitive is made step by step, alone or as a part.
    assume(end.fallback != "sensitive" != begin.fallback)

    # then not a bit differs
    assert_one_fit(begin, end, whole, "normal")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("one", "other"), [("normal", "reference"), ("reference", "normal")])
@pytest.mark.parametrize(("kind", "arguments"), RULES)
def test_it_goes_on_from_the_loop_and_the_loop_from_it(
    kind: str, arguments: dict[str, Any], one: str, other: str, dtype: str
) -> None:
    # given half of a fit by one strategy
    data = noisy_plane(n_targets=2, weighted=True)
    changes: dict[str, Any] = {
        "optimizer": {"kind": kind} | DEFAULTS[kind][1] | arguments, "steps": 20, "dtype": dtype,
    }  # fmt: skip
    begin = fit(specification(strategy=one, **changes), data)

    # when the other makes the second half
    end = fit(specification(strategy=other, init=CARRIED, **changes), data, start=carried(begin))

    # then it is the second half of the whole
    whole = fit(specification(strategy="reference", **changes | {"steps": 40}), data)
    rtol = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(end.history.loss, whole.history.loss[20:], rtol=rtol)
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(end.weights[name], weight, rtol=rtol, atol=rtol)


def test_a_plateau_goes_on() -> None:
    schedule = {"kind": "reduce_on_plateau", "interval": "epoch"} | SCHEDULED[9][2]
    spec = mapping(
        optimizer=ADAM, scheduler=schedule, validation={"fraction": 0.3, "stratify": False}
    )
    data = noisy_plane()

    parts = [computed(spec, data, one) for one in ("normal", "reference")]
    ends = [
        fit(Specification.from_mapping(spec | {"init": CARRIED, "strategy": other}), data,
            start=carried(part))
        for part in parts for other in ("normal", "reference")
    ]  # fmt: skip

    whole = computed(spec, data, "reference", steps=40)
    assert len(np.unique(whole.history.lr[20:])) > 1
    for end in ends:
        np.testing.assert_array_equal(end.history.lr, whole.history.lr[20:])
        np.testing.assert_allclose(end.history.loss, whole.history.loss[20:], rtol=1e-9)


def test_on_other_rows_it_goes_on_from_the_weights() -> None:
    start = carried(computed(mapping(optimizer=ADAM), noisy_plane(), "normal"))

    found, plain = (
        fit(specification(strategy=s, init=CARRIED, optimizer=ADAM), noisy_plane(seed=1),
            start=start)
        for s in ("normal", "reference")
    )  # fmt: skip

    np.testing.assert_allclose(found.history.loss, plain.history.loss, rtol=1e-9)


@given(fits())
@settings(max_examples=20)
def test_rows_that_are_streamed_give_the_bits_of_memory(case: tuple[dict[str, Any], Data]) -> None:
    spec, data = case
    expected = computed(spec, data, "normal")
    assume(expected.strategy == "normal")

    found = computed(spec, Streamed(data), "normal")  # type: ignore[arg-type]

    assert found.strategy == "normal"
    assert bits(found) == bits(expected)


def test_it_is_interrupted_after_its_rehearsal() -> None:
    # given a stop before the last chunks are made
    spec = specification(steps=100_000, strategy="normal")
    looks = count()
    fit(spec, noisy_plane(), should_stop=lambda: next(looks) < 0)
    n_looks, again = next(looks), count()

    result = fit(spec, noisy_plane(), should_stop=lambda: next(again) == n_looks - 3)

    assert (result.status, result.strategy) == ("interrupted", "normal")
    assert 0 < result.n_steps < 100_000
    assert len(result.history.loss) == result.n_steps
    same = fit(specification(steps=result.n_steps, strategy="normal"), noisy_plane())
    np.testing.assert_array_equal(result.weights["weight"], same.weights["weight"])


def test_a_long_rehearsal_is_interrupted() -> None:
    # given more steps than are rehearsed at once
    looks = count()
    spec = specification(optimizer=ADAM, steps=200_000, strategy="normal")

    result = fit(spec, noisy_plane(), should_stop=lambda: next(looks) == 2)

    assert (result.status, result.n_steps, result.strategy) == ("interrupted", 0, "normal")
    for name, weight in result.initial_weights.items():
        assert result.weights[name].tobytes() == weight.tobytes()
