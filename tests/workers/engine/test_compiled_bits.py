"""Compiled loops give the same bits however a fit is cut, and whatever runs beside it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.drawn import Case, cases
from tests.workers.engine.given import noisy_plane, specification
from workers.engine import Data, Result, Snapshot, Specification, Start, fit
from workers.engine.shuffling import shuffle_rows

CARRIED = {"fit": "fit_01", "optimizer_state": True}
NETWORK = {
    "kind": "mlp", "hidden": [16, 8], "activation": "tanh", "dropout": 0.0, "batch_norm": False,
    "output": "auto",
}  # fmt: skip
DTYPES = st.sampled_from(["float32", "float64"])


def spec_of(case: Case, **changes: Any) -> Specification:
    return Specification.from_mapping(case[0] | {"strategy": "kernels"} | changes)


def bits(result: Result) -> list[bytes]:
    history = result.history
    arrays = [history.loss, history.grad_norm, history.lr, history.epochs_train_loss]
    return [array.tobytes() for array in (*arrays, *result.weights.values())]


@given(case=cases(), dtype=DTYPES, data=st.data())
@settings(max_examples=100)
def test_a_fit_that_goes_on_is_one_fit(case: Case, dtype: str, data: st.DataObject) -> None:
    # given a fit in one go, each step recorded, whose cycle has a length of its own
    schedule = case[0]["scheduler"]
    if schedule and schedule["kind"] == "one_cycle":
        schedule = schedule | {"total_steps": 100}
    steps = case[0]["steps"] + 1
    record = {"every": 1, "weights": False, "gradients": False}
    same = {"scheduler": schedule, "record": record, "dtype": dtype}
    whole = fit(spec_of(case, **same, steps=steps), case[1])

    # when it is cut anywhere, and goes on from what was kept
    cut = data.draw(st.integers(1, steps - 1))
    first = fit(spec_of(case, **same, steps=cut), case[1])
    arrays = {name: np.array(array) for name, array in first.snapshot.to_arrays().items()}
    start = Start(first.weights, Snapshot.from_arrays(arrays))
    rest = fit(spec_of(case, **same, steps=steps - cut, init=CARRIED), case[1], start=start)

    # then not a bit differs
    for name in ("loss", "grad_norm", "lr"):
        joined = np.concatenate([getattr(part.history, name) for part in (first, rest)])
        assert joined.tobytes() == getattr(whole.history, name).tobytes()
    for name, weight in whole.weights.items():
        assert rest.weights[name].tobytes() == weight.tobytes()
    assert rest.final_loss == whole.final_loss


def test_threads_change_nothing() -> None:
    # given fits of networks, each with another seed
    data = noisy_plane(300, 5)
    adam = {"kind": "adam", "lr": 0.01}
    specs = [
        specification(model=NETWORK, optimizer=adam, batch_size=32, steps=100, seed=seed)
        for seed in range(8)
    ]
    alone = [bits(fit(spec, data)) for spec in specs]

    # when four threads compute them side by side
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda spec: bits(fit(spec, data)), specs * 3))

    assert together == alone * 3


@given(case=cases(most_steps=15), dtype=DTYPES)
@settings(max_examples=60)
def test_a_trajectory_changes_nothing(case: Case, dtype: str) -> None:
    every = case[0]["record"]["every"]
    record = {"every": every, "weights": True, "gradients": True}

    plain = fit(spec_of(case, dtype=dtype), case[1])
    seen = fit(spec_of(case, dtype=dtype, record=record), case[1])

    # then the fit is the same, from the weights that were seen first
    assert bits(seen) == bits(plain)
    assert seen.trajectory is not None
    assert seen.trajectory.step.tolist() == plain.history.step.tolist()
    for name, weight in seen.initial_weights.items():
        assert seen.trajectory.weights[name][0].tobytes() == weight.tobytes()
    parts = [gradient.reshape(len(gradient), -1) for gradient in seen.trajectory.gradients.values()]
    norms = np.linalg.norm(np.hstack(parts).astype(float), axis=1)
    np.testing.assert_allclose(norms, seen.history.grad_norm, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_out_of_order_are_their_own_rows(dtype: str) -> None:
    # given a shuffled fit of one epoch
    data = noisy_plane(203, 5, weighted=True)
    changes = {"batch_size": 16, "epochs": 1, "dtype": dtype, "strategy": "kernels"}
    shuffled = fit(specification(**changes), data)

    # when the rows come in its order, and are not shuffled
    order = shuffle_rows(203, 0, 0).numpy()
    assert data.weight is not None
    laid = Data(data.x[order], data.y[order], data.weight[order])

    assert bits(fit(specification(**changes, shuffle=False), laid)) == bits(shuffled)
