"""Normal equations give the numbers of the plain loop, whatever a fit may be made of."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.workers.engine.alike import assert_diverge_together, computed, numbers
from tests.workers.engine.given import mapping, noisy_plane
from tests.workers.engine.test_rules import ARGUMENTS, DEFAULTS, SCHEDULED, assert_same, descend
from tests.workers.engine.test_spectral import distance, planes, stops
from tests.workers.engine.test_spectrum import filip, longley
from workers.engine import Data

RULES = [(kind, changes) for kind, changes in ARGUMENTS if kind != "lbfgs"]
ADAM = {"kind": "adam"} | DEFAULTS["adam"][1]


@st.composite
def optimizers(draw: st.DrawFn) -> dict[str, Any]:
    kind, changes = draw(st.sampled_from(RULES))
    lr = {"lr": draw(st.floats(1e-3, 0.1))} if kind not in ("sgd", "asgd") else {}
    optimizer: dict[str, Any] = {"kind": kind} | DEFAULTS[kind][1] | changes | lr
    return optimizer


@st.composite
def schedules(draw: st.DrawFn, optimizer: dict[str, Any]) -> dict[str, Any] | None:
    """None, or one that moves no momentum where there is none."""
    kind, _, arguments = draw(st.sampled_from(SCHEDULED))
    moving = {"betas", "momentum"} & set(optimizer)
    if draw(st.booleans()) or (kind in ("one_cycle", "cyclic") and not moving):
        return None
    interval = draw(st.sampled_from(["step", "epoch"]))
    return dict(arguments, kind=kind, interval=interval)


@st.composite
def fits(draw: st.DrawFn) -> tuple[dict[str, Any], Data]:
    optimizer = draw(optimizers())
    spec = mapping(
        model={"kind": "linear", "bias": draw(st.booleans())},
        penalty={"l1": draw(st.sampled_from([0.0, 0.1])), "l2": draw(st.sampled_from([0.0, 0.2]))},
        optimizer=optimizer,
        scheduler=draw(schedules(optimizer)),
        clip_grad_norm=draw(st.none() | st.floats(0.1, 2.0)),
        standardize=False,
        record={"every": draw(st.sampled_from([1, 3])), "weights": True, "gradients": True},
        seed=draw(st.integers(0, 1_000)),
        steps=draw(st.integers(1, 40)),
        **draw(stops()),
    )
    return spec, draw(planes())


@given(fits())
@settings(max_examples=75)
def test_they_are_the_plain_loop(case: tuple[dict[str, Any], Data]) -> None:
    spec, data = case
    plain = computed(spec, data, "reference")
    assume(plain.status != "diverged" and (plain.history.loss < 1e6).all())

    found = computed(spec, data, "normal")

    assert found.strategy == "normal" or found.fallback == "sensitive"
    assert (found.status, found.n_steps) == (plain.status, plain.n_steps)
    first = plain.history.loss[0] if len(plain.history.loss) else 1.0
    for ours, theirs in zip(numbers(found), numbers(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * max(1.0, first))


@pytest.mark.parametrize(("kind", "changes"), RULES)
def test_rules_are_torchs(kind: str, changes: dict[str, Any]) -> None:
    build, defaults = DEFAULTS[kind]
    data = noisy_plane(64, 3)
    spec = mapping(optimizer={"kind": kind} | defaults | changes, steps=60)

    found = computed(spec, data, "normal")

    assert_same(found, descend(spec, data, found, build=lambda p: build(p, **changes)))


@pytest.mark.parametrize(("kind", "changes"), RULES)
def test_fits_of_moderate_length_keep_their_digits(kind: str, changes: dict[str, Any]) -> None:
    spec = mapping(optimizer={"kind": kind} | DEFAULTS[kind][1] | changes, steps=40)

    found = computed(spec, noisy_plane(500, 4), "normal")

    assert (found.strategy, found.fallback) == ("normal", None)


@given(fits(), st.sampled_from(["float32", "float64"]), st.floats(0.5, 1e6))
@settings(max_examples=60)
def test_they_diverge_at_the_same_step(
    case: tuple[dict[str, Any], Data], dtype: str, lr: float
) -> None:
    # given fits at rates that many of them cannot bear
    spec, data = case

    assert_diverge_together(spec, data, "normal", lr=lr, dtype=dtype)


@given(fits())
@settings(max_examples=60)
def test_float32_is_as_near_as_the_plain_loop(case: tuple[dict[str, Any], Data]) -> None:
    # given fits that end where they were told to, from weights that float32 has too
    spec, data = case
    n_features, n_targets = data.x.shape[1], data.y.shape[1]
    init: dict[str, Any] = {"weight": np.full((n_targets, n_features), 0.25).tolist()}
    if spec["model"]["bias"]:
        init["bias"] = [0.5] * n_targets
    spec |= {"tolerance": None, "early_stopping": None, "init": {"weights": init}}
    exact = computed(spec, data, "reference")
    assume(exact.status == "completed" and (exact.history.loss < 1e6).all())

    plain, found = (
        computed(spec, data, strategy, dtype="float32") for strategy in ("reference", "normal")
    )

    assert found.strategy == "normal" or found.fallback == "sensitive"
    assert all(weight.dtype == np.float32 for weight in found.weights.values())
    assert distance(found, exact) <= max(1e-4, 2 * distance(plain, exact))


def test_a_descent_that_enlarges_rounding_is_made_step_by_step() -> None:
    # given steps that go on long after an optimum is found, where Adam divides noise by noise
    spec = mapping(optimizer=ADAM | {"lr": 0.1}, steps=3_000)
    data = noisy_plane(64, 3)

    found = computed(spec, data, "normal")

    # then they are the loop's to the bit
    plain = computed(spec, data, "kernels")
    assert (found.strategy, found.fallback) == ("kernels", "sensitive")
    assert found.history.loss.tobytes() == plain.history.loss.tobytes()
    assert found.weights["weight"].tobytes() == plain.weights["weight"].tobytes()


def test_an_optimum_that_is_exact_is_approached_to_the_last_digit() -> None:
    x = np.linspace(-1, 1, 100)[:, None]
    spec = mapping(optimizer=ADAM | {"lr": 0.1}, steps=1_500)

    found, plain = (computed(spec, Data(x, 2 * x + 3), s) for s in ("normal", "reference"))

    assert found.strategy == "normal"
    assert (found.history.loss >= 0).all()
    assert found.history.loss[-1] < 1e-24
    falling = plain.history.loss > 1e-20
    np.testing.assert_allclose(found.history.loss[falling], plain.history.loss[falling], rtol=1e-3)


@pytest.mark.parametrize("kind", ["adam", "adagrad", "rprop"])
def test_features_that_say_nothing_are_left_where_they_are(kind: str) -> None:
    # given a feature of zeros, whose gradient is exactly 0
    plane = noisy_plane(200, 3)
    data = Data(np.column_stack([plane.x, np.zeros(200)]), plane.y)
    spec = mapping(optimizer={"kind": kind} | DEFAULTS[kind][1], steps=100)

    found, plain = (computed(spec, data, s) for s in ("normal", "reference"))

    assert found.strategy == "normal"
    assert found.weights["weight"][0, 3] == found.initial_weights["weight"][0, 3]
    np.testing.assert_allclose(found.history.loss, plain.history.loss, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("standardize", [False, True])
def test_filip_is_descended_step_by_step(standardize: bool, dtype: str) -> None:
    spec = mapping(optimizer=ADAM, standardize=standardize, dtype=dtype, strategy="normal")

    found, plain = (computed(spec, filip(), s) for s in ("normal", "kernels"))

    assert (found.strategy, found.fallback) == ("kernels", "ill_conditioned")
    assert found.history.loss.tobytes() == plain.history.loss.tobytes()


def test_longley_is_descended_step_by_step_but_where_it_is_standardized() -> None:
    spec = mapping(optimizer=ADAM | {"lr": 0.1}, steps=200)

    raw, scaled = (
        computed(spec, longley()["data"], "normal", standardize=one) for one in (False, True)
    )

    assert (raw.strategy, raw.fallback) == ("kernels", "ill_conditioned")
    assert (scaled.strategy, scaled.fallback) == ("normal", None)
    plain = computed(spec, longley()["data"], "reference", standardize=True)
    np.testing.assert_allclose(scaled.history.loss, plain.history.loss, rtol=1e-9)


def test_sums_that_are_not_finite_are_left_to_the_loop() -> None:
    data = Data(np.array([[1e200], [-1e200]]), np.ones((2, 1)))

    found = computed(mapping(optimizer=ADAM, init={"kind": "zeros"}), data, "normal")

    assert (found.strategy, found.fallback) == ("kernels", "not_finite")
