"""Compiled loops end where the plain loop does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.workers.engine.drawn import Case, cases
from tests.workers.engine.given import noisy_plane, sgd, specification
from workers.engine import Data, Result, Specification, fit, loss_over

NETWORK = {
    "kind": "mlp", "hidden": [9], "activation": "relu", "dropout": 0.0, "batch_norm": False,
    "output": "auto",
}  # fmt: skip
ADAM = {"kind": "adam", "lr": 0.02}


def both(case: Case, **changes: Any) -> tuple[Result, Result]:
    compiled, plain = (
        fit(Specification.from_mapping(case[0] | changes | {"strategy": name}), case[1])
        for name in ("kernels", "reference")
    )
    return compiled, plain


@given(
    case=cases(),
    lr=st.sampled_from([1e4, 1e8, 1e12]),
    dtype=st.sampled_from(["float32", "float64"]),
)
@settings(max_examples=100)
def test_it_diverges_where_the_plain_loop_does(case: Case, lr: float, dtype: str) -> None:
    # These make 1 of what has no number in one order of a sum, and nothing of what is none in
    # another.
    model = case[0]["model"]
    assume(not {model.get("activation"), model.get("output")} & {"tanh", "sigmoid"})
    changes = {"optimizer": sgd(lr=lr, momentum=0.5), "scheduler": None, "clip_grad_norm": None}

    compiled, plain = both(case, **changes, dtype=dtype)

    # A score of 1e7 is rounded to whole numbers in float32, and has any probability; where these go
    # back through layers they decide which of them are dead.
    if dtype == "float64" or not (case[1].n_classes and model.get("hidden")):
        assert (compiled.status, compiled.failed_step) == (plain.status, plain.failed_step)
        assert compiled.n_steps == plain.n_steps
    assert all(np.isfinite(weight).all() for weight in compiled.weights.values())


@given(case=cases(most_steps=100), power=st.floats(-3.0, 0.0))
@settings(max_examples=75)
def test_it_comes_to_rest_where_the_plain_loop_does(case: Case, power: float) -> None:
    compiled, plain = both(case, tolerance=10**power)

    assert (compiled.status, compiled.n_steps) == (plain.status, plain.n_steps)


@given(
    case=cases(most_steps=60),
    monitor=st.sampled_from(["train_loss", "validation_loss"]),
    patience=st.integers(1, 5),
    restore_best=st.booleans(),
)
@settings(max_examples=50)
def test_it_stops_early_where_the_plain_loop_does(
    case: Case, monitor: str, patience: int, *, restore_best: bool
) -> None:
    stopping = {
        "monitor": monitor, "patience": patience, "min_delta": 1e-3, "restore_best": restore_best
    }  # fmt: skip
    validation = {"fraction": 0.25, "stratify": False}

    compiled, plain = both(case, early_stopping=stopping, validation=validation, drop_last=False)

    assert (compiled.status, compiled.n_steps) == (plain.status, plain.n_steps)
    found, exact = (result.history.epochs_validation_loss for result in (compiled, plain))
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12 * abs(plain.history.loss[0]))
    for name, weight in plain.weights.items():
        np.testing.assert_allclose(compiled.weights[name], weight, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("model", [NETWORK, {"kind": "linear", "bias": True}])
def test_a_held_out_loss_is_that_of_an_evaluation(
    model: dict[str, Any], batch_size: int | None, dtype: str
) -> None:
    data, others = noisy_plane(100, 5, weighted=True), noisy_plane(77, 5, seed=1, weighted=True)
    spec = specification(
        model=model, optimizer=ADAM, batch_size=batch_size, epochs=3, dtype=dtype,
        validation={"dataset": "ds_2"}, strategy="kernels", penalty={"l1": 0.1, "l2": 0.2},
    )  # fmt: skip

    result = fit(spec, data, held_out=others)

    assert loss_over(spec, result.weights, others) == result.history.epochs_validation_loss[-1]


@pytest.mark.parametrize("strategy", ["reference", "kernels"])
def test_what_a_gate_holds_back_stays_there(strategy: str) -> None:
    # given a unit that is shut, behind a weight that makes an infinity of any pull
    weights = {
        "layers.0.weight": [[1.0]], "layers.0.bias": [-2.0],
        "layers.1.weight": [[3e38]], "layers.1.bias": [0.0],
    }  # fmt: skip
    spec = specification(
        model=NETWORK | {"hidden": [1]}, init={"weights": weights}, steps=3, dtype="float32",
        strategy=strategy,
    )  # fmt: skip

    result = fit(spec, Data(np.ones((2, 1)), np.full((2, 1), 100.0)))

    assert result.status == "completed"
    assert result.weights["layers.0.bias"] == [-2]


def test_an_early_stop_is_looked_for_where_a_step_of_the_next_epoch_fails() -> None:
    # given rows of which the last batch blows the fit up in the second epoch
    x = np.ones((4, 1))
    data = Data(x, np.array([[1.0], [1.0], [1e150], [1.0]]))
    stopping = {
        "monitor": "train_loss", "patience": 1, "min_delta": 0.0, "restore_best": False
    }  # fmt: skip
    changes = {"early_stopping": stopping, "batch_size": 1, "shuffle": False, "epochs": 50}

    compiled, plain = (
        fit(specification(strategy=name, optimizer=sgd(lr=1e80), **changes), data)
        for name in ("kernels", "reference")
    )

    assert (compiled.status, compiled.n_steps) == (plain.status, plain.n_steps)
    np.testing.assert_array_equal(
        np.isfinite(compiled.history.epochs_train_loss),
        np.isfinite(plain.history.epochs_train_loss),
    )
