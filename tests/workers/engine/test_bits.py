"""The same fit gives the same bits, however it is cut and beside whatever it runs."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import BATCHED, STRATEGIES, noisy_plane, sgd, specification
from workers.engine import Data, Result, fit
from workers.engine.batches import cut_batches
from workers.engine.descent import Descent
from workers.engine.fitting import STRATEGIES as DESCENTS
from workers.engine.snapshot import Start
from workers.engine.splitting import Split

IN_BATCHES = [(name, 7) for name in STRATEGIES]


def bits(result: Result) -> list[bytes]:
    history = result.history
    arrays = (history.loss, history.grad_norm, history.epochs_train_loss, *result.weights.values())
    return [array.tobytes() for array in arrays]


def begin(strategy: str, batch_size: int | None) -> Descent:
    spec = specification(batch_size=batch_size, optimizer=sgd(momentum=0.9), steps=40)
    data = noisy_plane(n_targets=2)
    initial = spec.init.weights(spec.model, data.shape, spec.dtype, seed=0)
    batches = cut_batches(spec, len(data.x))
    return DESCENTS[strategy](spec, Split(data), batches, Start(initial))


@pytest.mark.parametrize(("strategy", "batch_size"), BATCHED)
@given(cuts=st.sets(st.integers(1, 39)))
@settings(max_examples=25)
def test_chunks_change_nothing(strategy: str, batch_size: int | None, cuts: set[int]) -> None:
    # given a descent made in one go
    whole = begin(strategy, batch_size)
    whole.advance(40)

    # when the same is made in pieces
    pieces = begin(strategy, batch_size)
    for stop in (*sorted(cuts), 40):
        pieces.advance(stop - pieces.n_steps)

    # then not a bit differs
    assert pieces.n_steps == whole.n_steps == 40
    assert pieces.trace.loss.tobytes() == whole.trace.loss.tobytes()
    assert pieces.trace.grad_norm.tobytes() == whole.trace.grad_norm.tobytes()
    assert pieces.final_loss() == whole.final_loss()
    for name, weight in whole.weights().items():
        assert pieces.weights()[name].tobytes() == weight.tobytes()


@pytest.mark.parametrize(
    ("strategy", "most_features"), [("spectral", 400), *((name, 2_200) for name in STRATEGIES)]
)
def test_torch_threads_change_nothing(strategy: str, most_features: int) -> None:
    # given fits small and large enough for several threads
    before = torch.get_num_threads()
    for n_features in (3, most_features):
        spec = specification(steps=3, optimizer=sgd(lr=1e-4), strategy=strategy)
        data = noisy_plane(n_rows=2_000, n_features=n_features)

        # when the process has one thread, then two
        found = []
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            found.append(bits(fit(spec, data)))
            assert torch.get_num_threads() == n_threads
        torch.set_num_threads(before)

        # then not a bit differs, and the process has its threads back
        assert found[0] == found[1]


@pytest.mark.parametrize("n_features", [1, 5, 17, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_plain_loop_is_torchs_own_on_slices(n_features: int, dtype: torch.dtype) -> None:
    # given a loop over slices of two tensors, which begin anywhere in a line of the cache
    data = noisy_plane(n_rows=500, n_features=n_features, n_targets=2)
    name = str(dtype).removeprefix("torch.")
    changes = {"dtype": name, "strategy": "reference", "shuffle": False}
    spec = specification(batch_size=7, steps=60, optimizer=sgd(momentum=0.9), **changes)
    result = fit(spec, data)
    x, y = torch.tensor(data.x, dtype=dtype), torch.tensor(data.y, dtype=dtype)
    model = torch.nn.Linear(n_features, 2, dtype=dtype)
    model.load_state_dict({n: torch.tensor(w) for n, w in result.initial_weights.items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    # when it is run
    before, losses = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for first in range(0, 420, 7):
        optimizer.zero_grad()
        rows = slice(first, first + 7)
        loss = torch.nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.set_num_threads(before)

    # then not a bit differs
    assert result.history.loss.tobytes() == np.array(losses).tobytes()
    assert result.weights["weight"].tobytes() == model.weight.detach().numpy().tobytes()


@pytest.mark.parametrize(("strategy", "batch_size"), BATCHED)
def test_the_layout_of_the_arrays_changes_nothing(strategy: str, batch_size: int | None) -> None:
    # given the same numbers, column by column and read-only
    data = noisy_plane()
    other = Data(x=data.x.copy(order="F"), y=data.y.copy())
    other.x.flags.writeable = other.y.flags.writeable = False
    spec = specification(batch_size=batch_size, strategy=strategy)

    # then not a bit differs
    assert bits(fit(spec, other)) == bits(fit(spec, data))


@pytest.mark.parametrize(("strategy", "batch_size"), [("spectral", None), *IN_BATCHES])
def test_another_process_changes_nothing(strategy: str, batch_size: int | None) -> None:
    # given a fit in a process of its own
    changes = {"batch_size": batch_size, "strategy": strategy}
    program = (
        "from tests.workers.engine.given import noisy_plane, specification\n"
        "from workers.engine import fit\n"
        f"result = fit(specification(**{changes!r}), noisy_plane())\n"
        "print(result.history.loss.tobytes().hex(), result.weights['weight'].tobytes().hex())\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    theirs = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    ).stdout.split()

    # then its bits are ours
    ours = fit(specification(**changes), noisy_plane())
    assert theirs == [ours.history.loss.tobytes().hex(), ours.weights["weight"].tobytes().hex()]
