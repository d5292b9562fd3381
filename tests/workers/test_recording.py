"""What a fit's row keeps of an engine's result."""

import numpy as np
import pytest

from workers.engine import History
from workers.recording import thin


def history(n: int) -> History:
    steps = np.arange(n)
    empty = np.empty(0)
    return History(
        step=steps,
        epoch=steps,
        loss=1.0 / (1 + steps),
        lr=np.full(n, 0.1),
        grad_norm=np.ones(n),
        epochs_epoch=empty.astype(np.int64),
        epochs_train_loss=empty,
        epochs_validation_loss=empty,
    )


@pytest.mark.parametrize("n", [0, 1, 999, 1000])
def test_a_short_history_is_kept_whole(n: int) -> None:
    kept = thin(history(n))

    assert kept["n"] == len(kept["step"]) == n
    assert not kept["thinned"]


@pytest.mark.parametrize("n", [1001, 1999, 7000, 1_000_000])
def test_a_long_history_is_thinned_evenly_with_both_ends(n: int) -> None:
    kept = thin(history(n))

    assert kept["thinned"]
    assert kept["n"] == n
    assert len(set(kept["step"])) == 1000
    assert (kept["step"][0], kept["step"][-1]) == (0, n - 1)
    assert kept["loss"] == [1.0 / (1 + step) for step in kept["step"]]
    gaps = np.diff(kept["step"])
    assert gaps.max() - gaps.min() <= 1
