"""Which strategy a fit gets."""

import dataclasses

import pytest

from tests.workers.engine.given import noisy_plane, specification
from workers.engine import Shape, SpecificationError, check, fit
from workers.engine.fitting import STRATEGIES
from workers.engine.planner import COVERED, choose_strategy

SMALL = Shape(n_rows=100, n_features=2, n_targets=1)


def test_least_squares_on_all_rows_are_a_closed_form() -> None:
    assert choose_strategy(specification(), SMALL) == "spectral"
    assert fit(specification(), noisy_plane()).strategy == "spectral"


def test_a_small_least_squares_fit_in_batches_is_compiled() -> None:
    assert choose_strategy(specification(batch_size=7), SMALL) == "kernels"
    assert fit(specification(batch_size=7), noisy_plane()).strategy == "kernels"


def test_a_large_matrix_product_is_torchs() -> None:
    large = Shape(n_rows=10_000, n_features=100, n_targets=100)
    assert choose_strategy(specification(steps=1), large) == "reference"
    assert choose_strategy(specification(batch_size=10), large) == "kernels"


@pytest.mark.parametrize("name", COVERED)
def test_a_strategy_may_be_forced(name: str) -> None:
    assert choose_strategy(specification(strategy=name), SMALL) == name


def test_a_strategy_that_does_not_cover_the_fit_is_refused() -> None:
    # given a fit that asks for a strategy of another kind of fit
    spec = dataclasses.replace(specification(), strategy="graphs")  # type: ignore[arg-type]

    # then it is refused, and those that cover it are named
    with pytest.raises(SpecificationError) as caught:
        check(spec, SMALL)
    assert caught.value.pointer == "/strategy"
    assert "'kernels', 'reference'" in caught.value.detail


def test_every_planned_strategy_can_run() -> None:
    assert set(COVERED) == set(STRATEGIES)
