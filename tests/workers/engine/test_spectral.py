"""A closed form gives the numbers of the plain loop, whatever a fit may be made of."""

from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.workers.engine.alike import assert_diverge_together, computed, numbers
from tests.workers.engine.given import mapping, noisy_plane, sgd
from tests.workers.engine.test_rules import SCHEDULED
from workers.engine import Data, Result

SCHEDULES = [(kind, arguments) for kind, _, arguments in SCHEDULED if kind != "reduce_on_plateau"]


@st.composite
def optimizers(draw: st.DrawFn) -> dict[str, Any]:
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    return sgd(
        lr=draw(st.floats(1e-3, 0.1)),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        dampening=0.0 if nesterov else draw(st.sampled_from([0.0, 0.3])),
    )


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any] | None:
    if draw(st.booleans()):
        return None
    kind, arguments = draw(st.sampled_from(SCHEDULES))
    interval = draw(st.sampled_from(["step", "epoch"]))
    return {"kind": kind, "interval": interval, **arguments}


@st.composite
def stops(draw: st.DrawFn) -> dict[str, Any]:
    """What may end a fit before its last step."""
    stopping = {
        "monitor": draw(st.sampled_from(["train_loss", "validation_loss"])),
        "patience": draw(st.integers(1, 5)),
        "min_delta": draw(st.sampled_from([1e-3, 0.1])),
        "restore_best": draw(st.booleans()),
    }
    held_out = {"fraction": draw(st.floats(0.3, 0.5)), "stratify": False}
    return {
        "tolerance": draw(st.none() | st.floats(1e-3, 1.0)),
        "early_stopping": draw(st.none() | st.just(stopping)),
        "validation": draw(st.none() | st.just(held_out)),
    }


@st.composite
def planes(draw: st.DrawFn) -> Data:
    """Rows whose features have other scales and origins, and may say the same twice."""
    n_features = draw(st.integers(1, 5))
    plane = noisy_plane(
        n_rows=draw(st.integers(30, 300)),
        n_features=n_features,
        n_targets=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1_000)),
        weighted=draw(st.booleans()),
    )
    spread = draw(st.lists(st.floats(0.3, 1.5), min_size=n_features, max_size=n_features))
    x = plane.x * spread + draw(st.sampled_from([0.0, 0.5]))
    if draw(st.booleans()):
        x = np.column_stack([x, x[:, 0], np.ones(len(x))])
    return Data(x, plane.y, plane.weight)


@st.composite
def fits(draw: st.DrawFn) -> tuple[dict[str, Any], Data]:
    record = {"every": draw(st.sampled_from([1, 3])), "weights": True, "gradients": True}
    spec = mapping(
        model={"kind": "linear", "bias": draw(st.booleans())},
        penalty={"l1": 0.0, "l2": draw(st.sampled_from([0.0, 0.2]))},
        optimizer=draw(optimizers()),
        scheduler=draw(schedules()),
        clip_grad_norm=draw(st.none() | st.floats(0.1, 2.0)),
        standardize=False,
        record=record,
        seed=draw(st.integers(0, 1_000)),
        steps=draw(st.integers(1, 40)),
        **draw(stops()),
    )
    return spec, draw(planes())


@given(fits())
@settings(max_examples=75)
def test_it_is_the_plain_loop(case: tuple[dict[str, Any], Data]) -> None:
    spec, data = case
    plain = computed(spec, data, "reference")
    # Beyond it the loops themselves differ by more, and where the loss hardly moves, so may the
    # epoch that is the best.
    assume(plain.status != "diverged" and (plain.history.loss < 1e6).all())

    found = computed(spec, data, "spectral")

    assert (found.strategy, found.fallback) == ("spectral", None)
    assert (found.status, found.n_steps) == (plain.status, plain.n_steps)
    first = plain.history.loss[0] if len(plain.history.loss) else 1.0
    for ours, theirs in zip(numbers(found), numbers(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * max(1.0, first))


@given(fits(), st.sampled_from(["float32", "float64"]), st.floats(0.5, 1e6))
@settings(max_examples=60)
def test_it_diverges_at_the_same_step(
    case: tuple[dict[str, Any], Data], dtype: str, lr: float
) -> None:
    # given fits at rates that most of them cannot bear
    spec, data = case

    assert_diverge_together(spec, data, "spectral", lr=lr, dtype=dtype)


@given(fits())
@settings(max_examples=60)
def test_float32_is_as_near_as_the_plain_loop(case: tuple[dict[str, Any], Data]) -> None:
    # given fits that end where they were told to
    spec, data = case
    spec |= {"tolerance": None, "early_stopping": None}
    exact = computed(spec, data, "reference")
    assume(exact.status == "completed" and (exact.history.loss < 1e6).all())

    plain, found = (
        computed(spec, data, strategy, dtype="float32") for strategy in ("reference", "spectral")
    )

    assert found.strategy == "spectral"
    assert all(weight.dtype == np.float32 for weight in found.weights.values())
    assert distance(found, exact) <= max(1e-4, 2 * distance(plain, exact))


def distance(found: Result, exact: Result) -> float:
    floor = 1e-4 * exact.history.loss[0]
    pairs = zip(numbers(found), numbers(exact), strict=True)
    apart = [np.abs(a - b) / np.maximum(np.abs(b), floor) for a, b in pairs]
    return max(float(np.nanmax(one, initial=0.0)) for one in apart)
