"""Which strategy a fit gets."""

import dataclasses
from typing import Any

import pytest

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.test_large import NETWORK
from tests.workers.engine.test_rules import DEFAULTS, SCHEDULED
from workers.engine import Shape, SpecificationError, check, fit
from workers.engine.fitting import STRATEGIES
from workers.engine.planner import COVERED, choose_strategy

SMALL = Shape(n_rows=100, n_features=2, n_targets=1)


def test_least_squares_on_all_rows_are_a_closed_form() -> None:
    assert choose_strategy(specification(), SMALL) == "spectral"
    assert fit(specification(), noisy_plane()).strategy == "spectral"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"kind": "polynomial", "bias": False, "degree": 2, "interactions": True}},
        {"optimizer": sgd(momentum=0.9, nesterov=True, weight_decay=0.1)},
        {"penalty": {"l1": 0.0, "l2": 1.0}, "clip_grad_norm": 1.0, "tolerance": 1e-3},
        {"scheduler": {"kind": "exponential", "interval": "epoch", "gamma": 0.9}},
        {"validation": {"fraction": 0.2, "stratify": False}, "standardize": True},
        {"batch_size": 100, "dtype": "float32", "drop_last": True},
    ],
)
def test_a_closed_form_has_all_that_is_linear(changes: dict[str, Any]) -> None:
    assert choose_strategy(specification(**changes), SMALL) == "spectral"
    large = Shape(n_rows=2**28, n_features=9, n_targets=1)
    whole = changes | {"batch_size": None, "drop_last": False}
    assert choose_strategy(specification(**whole), large) == "spectral"


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"kind": "mae"}},
        {"loss": {"kind": "bce", "pos_weight": None}, "model": {"kind": "logistic", "bias": True}},
        {"penalty": {"l1": 0.1, "l2": 0.0}},
        {"optimizer": {"kind": "adam"} | DEFAULTS["adam"][1]},
        {"scheduler": {"kind": "reduce_on_plateau", "interval": "step"} | SCHEDULED[9][2]},
        {"batch_size": 99},
    ],
)
def test_a_closed_form_has_nothing_else(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecificationError, match="does not cover"):
        choose_strategy(specification(strategy="spectral", **changes), SMALL)


def test_a_spectrum_must_be_worth_its_pass() -> None:
    wide = Shape(n_rows=20_000, n_features=400, n_targets=1)

    assert choose_strategy(specification(steps=10), wide) == "kernels"
    assert choose_strategy(specification(steps=10), wide, resumes="spectral") == "spectral"
    assert choose_strategy(specification(steps=100), wide) == "spectral"
    assert choose_strategy(specification(steps=10), wide, in_memory=False) == "spectral"
    with pytest.raises(SpecificationError, match="does not cover"):
        choose_strategy(specification(strategy="spectral"), Shape(10_000, 2_048, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"kind": "adam"} | DEFAULTS["adam"][1]},
        {"optimizer": {"kind": "rprop"} | DEFAULTS["rprop"][1], "dtype": "float32"},
        {"penalty": {"l1": 0.1, "l2": 0.0}},
        {"optimizer": sgd() | {"maximize": True}},
        {"scheduler": {"kind": "reduce_on_plateau", "interval": "step"} | SCHEDULED[9][2]},
    ],
)
def test_other_least_squares_on_many_rows_are_normal_equations(changes: dict[str, Any]) -> None:
    large, streamed = Shape(100_000, 20, 1), Shape(2**28, 9, 1)
    assert choose_strategy(specification(**changes), large) == "normal"
    assert choose_strategy(specification(**changes), streamed) == "normal"
    assert fit(specification(**changes), noisy_plane(20_000)).strategy == "normal"


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"kind": "mae"}},
        {"optimizer": {"kind": "lbfgs"} | DEFAULTS["lbfgs"][1]},
        {"batch_size": 99},
    ],
)
def test_normal_equations_have_nothing_else(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecificationError, match="does not cover"):
        choose_strategy(specification(strategy="normal", **changes), SMALL)


def test_squares_must_be_worth_their_pass() -> None:
    adam = {"kind": "adam"} | DEFAULTS["adam"][1]
    wide = Shape(n_rows=2_000, n_features=1_000, n_targets=1)

    assert choose_strategy(specification(optimizer=adam, steps=10), wide) == "kernels"
    assert choose_strategy(specification(optimizer=adam), wide, resumes="normal") == "normal"


def test_a_rehearsal_must_not_take_long() -> None:
    changes: dict[str, Any] = {"optimizer": {"kind": "adam"} | DEFAULTS["adam"][1], "steps": 10**5}
    large = Shape(100_000, 20, 1)

    assert choose_strategy(specification(**changes), large) == "normal"
    assert choose_strategy(specification(**changes | {"steps": 10**8}), large) == "kernels"
    short = changes | {"limits": {"max_seconds": 1e-3}}
    assert choose_strategy(specification(**short), large) == "kernels"


def test_a_small_least_squares_fit_in_batches_is_compiled() -> None:
    assert choose_strategy(specification(batch_size=7), SMALL) == "kernels"
    assert fit(specification(batch_size=7), noisy_plane()).strategy == "kernels"


def test_a_large_matrix_product_is_torchs() -> None:
    large = Shape(n_rows=10_000, n_features=100, n_targets=100)
    assert choose_strategy(specification(steps=1), large) == "large"
    assert choose_strategy(specification(batch_size=10), large) == "kernels"


def test_a_large_network_is_torchs() -> None:
    # given two hidden layers, wide and narrow
    wide, narrow = ({"model": NETWORK | {"hidden": [n, n]}, "batch_size": 256} for n in (1024, 16))
    rows = Shape(n_rows=10_000, n_features=20, n_targets=1)

    # then torch makes the wide one's steps, unless the optimizer searches
    lbfgs = {"kind": "lbfgs"} | DEFAULTS["lbfgs"][1]
    assert choose_strategy(specification(**wide), rows) == "large"
    assert choose_strategy(specification(optimizer=lbfgs, **wide), rows) == "reference"
    assert choose_strategy(specification(**narrow), rows) != "large"


@pytest.mark.parametrize("name", COVERED)
def test_a_strategy_may_be_forced(name: str) -> None:
    assert choose_strategy(specification(strategy=name), SMALL) == name


def test_a_strategy_that_does_not_cover_the_fit_is_refused() -> None:
    # given a fit that asks for a strategy of another kind of fit
    spec = dataclasses.replace(specification(), strategy="spiral")  # type: ignore[arg-type]

    # then it is refused, and those that cover it are named
    with pytest.raises(SpecificationError) as caught:
        check(spec, SMALL)
    assert caught.value.pointer == "/strategy"
    assert "'kernels', 'graphs', 'large', 'reference'" in caught.value.detail


def test_every_planned_strategy_can_run() -> None:
    assert set(COVERED) == set(STRATEGIES)
