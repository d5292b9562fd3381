"""Fits that are computed together have the bits that they have alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.test_spectral import fits
from tests.workers.engine.test_spectrum import filip, near_twins
from workers.engine import Data, Result, Specification, SpecificationError, fit, fit_many
from workers.engine.groups import common, fits_together

MLP = {
    "kind": "mlp", "hidden": [4], "activation": "tanh", "dropout": 0.0, "batch_norm": False,
    "output": "auto",
}  # fmt: skip


def numbers(result: Result) -> list[Any]:
    """All that a fit gives, but for the time that it took and what nobody asks of small tables."""
    history = result.history
    arrays = [
        *result.weights.values(), *result.initial_weights.values(), history.step, history.epoch,
        history.loss, history.lr, history.grad_norm, history.epochs_epoch,
        history.epochs_train_loss, history.epochs_validation_loss,
        *result.snapshot.to_arrays().values(),
    ]  # fmt: skip
    facts: list[Any] = [
        result.status, list(result.weights), result.n_steps, result.total_steps,
        result.failed_step, result.final_loss, result.strategy, result.fallback, result.n_threads,
    ]  # fmt: skip
    return [*facts, *((array.dtype, array.shape, array.tobytes()) for array in arrays)]


def assert_same(specs: list[Specification], tables: list[Data]) -> list[Result]:
    """Together they are what they are alone; those results."""
    together = fit_many(specs, tables)
    alone = [fit(spec, table) for spec, table in zip(specs, tables, strict=True)]
    assert [numbers(result) for result in together] == [numbers(result) for result in alone]
    return alone


@given(fits(), st.sampled_from(["float32", "float64"]), st.lists(st.floats(1e-4, 0.3), min_size=2))
@settings(max_examples=40)
def test_together_is_alone(
    case: tuple[dict[str, Any], Data], dtype: str, rates: list[float]
) -> None:
    # given a specification of each rate
    drawn, data = case
    mapped = [
        drawn | {"dtype": dtype, "validation": None, "optimizer": drawn["optimizer"] | {"lr": lr}}
        for lr in rates
    ]
    for one in mapped:
        if one["early_stopping"] is not None:
            one["early_stopping"] = one["early_stopping"] | {"monitor": "train_loss"}

    # then fits of one table at several rates are those of each rate alone
    assert_same([Specification.from_mapping(one) for one in mapped], [data] * len(mapped))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"standardize": True},
        {"model": {"kind": "linear", "bias": False}},
        {"penalty": {"l1": 0.0, "l2": 0.1}},
        {"optimizer": sgd(momentum=0.9, nesterov=True, weight_decay=0.01)},
        {"clip_grad_norm": 0.5, "tolerance": 1e-3, "steps": 300},
        {"early_stopping": {
            "monitor": "train_loss", "patience": 2, "min_delta": 0.01, "restore_best": True
        }, "steps": 300},
        {"scheduler": {"kind": "exponential", "interval": "step", "gamma": 0.97}},
        {"record": {"every": 7, "weights": False, "gradients": False}},
        {"init": {"kind": "zeros"}, "epochs": 9, "steps": None},
        {"optimizer": sgd(lr=50.0), "steps": 400},
    ],
)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
def test_tables_of_their_own(changes: dict[str, Any], weighted: bool) -> None:
    # given tables of two targets, and a seed for each: a line of lanes, and some more
    tables = [noisy_plane(40, 2, 2, seed=seed, weighted=weighted) for seed in range(11)]
    specs = [specification(**{"seed": seed, **changes}) for seed in range(11)]

    # then they are one group, and alike to what they are alone
    assert all(common(specs[0]) == common(spec) for spec in specs)
    assert all(fits_together(spec, tables[0].shape) for spec in specs)
    results = assert_same(specs, tables)
    assert len({result.final_loss for result in results}) in (1, 11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_of_a_line_that_goes_its_own_way(dtype: str) -> None:
    # given two lines of fits, of which one grows past all numbers, and another has no closed form
    rates = [0.01 + 0.001 * i for i in range(16)]
    rates[3] = 1e9
    tables = [noisy_plane(60, 2, seed=seed) for seed in range(16)]
    feature = tables[12].x[:, 0]
    tables[12] = Data(np.stack([feature, feature + 1e-9], axis=1), tables[12].y)
    specs = [specification(optimizer=sgd(lr=lr), dtype=dtype, steps=90) for lr in rates]

    # then all are what they are alone
    results = assert_same(specs, tables)
    assert [i for i, one in enumerate(results) if one.status == "diverged"] == [3]


def test_all_kinds_beside_each_other() -> None:
    # given fits of other shapes, models and rules, some of them not in closed form
    table, wide = noisy_plane(30, 2), noisy_plane(30, 3)
    cases: list[tuple[Specification, Data]] = [
        (specification(), table),
        (specification(steps=21), table),
        (specification(), wide),
        (specification(dtype="float32"), wide),
        (specification(batch_size=8), table),
        (specification(model=MLP), table),
        (specification(optimizer=sgd(lr=0.02)), table),
        (specification(optimizer=sgd(lr=1e-20)), filip()),
        (specification(), near_twins()),
        (specification(strategy="reference"), table),
        (specification(validation={"fraction": 0.3, "stratify": False}), table),
        (specification(record={"every": 1, "weights": True, "gradients": False}), table),
    ]

    results = assert_same([spec for spec, _ in cases], [data for _, data in cases])

    assert {result.strategy for result in results} >= {"spectral", "kernels", "reference"}
    assert results[7].fallback == results[8].fallback == "ill_conditioned"


def test_a_thousand_give_the_bits_of_each() -> None:
    tables = [noisy_plane(20, 1, seed=seed) for seed in range(1_000)]
    specs = [specification(seed=seed % 7) for seed in range(1_000)]

    together = fit_many(specs, tables, n_threads=3)

    assert len(together) == 1_000
    for i in (0, 1, 63, 64, 500, 999):
        assert numbers(together[i]) == numbers(fit(specs[i], tables[i]))
    assert [numbers(one) for one in together[5:8]] == [numbers(together[i]) for i in (5, 6, 7)]


def test_none_is_none() -> None:
    assert list(fit_many([], [])) == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"init": {"weights": {"weight": [[1.0]], "bias": [0.0]}}}, "/init/weights/weight"),
        ({"init": {"weights": {"weight": [[1e300, 1.0]], "bias": [0.0]}}}, "/init/weights/weight"),
        ({"strategy": "spectral", "optimizer": sgd(maximize=True)}, "/strategy"),
    ],
)
def test_one_that_cannot_begin_is_refused(changes: dict[str, Any], pointer: str) -> None:
    good = {"init": {"weights": {"weight": [[1.0, 1.0]], "bias": [0.0]}}, "dtype": "float32"}
    specs = [specification(**good), specification(**good | changes)]

    with pytest.raises(SpecificationError) as refused:
        fit_many(specs, [noisy_plane(20, 2)] * 2)

    assert refused.value.pointer == pointer


def test_weights_of_nothing_are_refused() -> None:
    rows = noisy_plane(10, 1)
    nothing = Data(rows.x, rows.y, np.zeros(10))

    with pytest.raises(ValueError, match="all 0"):
        fit_many([specification()], [nothing])
