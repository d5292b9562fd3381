"""The range test beside the package that it is named after, on the same problem."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.lr_finder import find_lr
from tests.workers.engine.given import noisy_plane, sgd, specification
from workers.engine.lr_range import LrRange, lr_range_test
from workers.engine.shuffling import shuffle_rows

START = {"weight": [[3.0, -2.0, 0.5]], "bias": [-1.0]}
N_ROWS = 50


def orders(batch_size: int) -> Iterator[list[int]]:
    """The engine's own order of the rows in each epoch, for seed 0."""
    epoch = 0
    while True:
        yield shuffle_rows(N_ROWS, 0, epoch).tolist() if batch_size < N_ROWS else [*range(N_ROWS)]
        epoch += 1


@pytest.mark.parametrize(
    ("optimizer", "build"),
    [
        (sgd(), torch.optim.SGD),
        (sgd(momentum=0.9, weight_decay=0.1), torch.optim.SGD),
        ({"kind": "adam", "lr": 1.0}, torch.optim.Adam),
        ({"kind": "rmsprop", "lr": 1.0}, torch.optim.RMSprop),
    ],
)
@pytest.mark.parametrize("batch_size", [8, N_ROWS])
@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"start_lr": 1e-5, "end_lr": 0.3, "num_iter": 60, "step_mode": "linear"},
        {"end_lr": 1.0, "num_iter": 230, "smooth_f": 0.3, "diverge_th": 2.0},
        {"smooth_f": 0.0, "diverge_th": 1e6},
        {"num_iter": 12, "end_lr": 1e-3},
    ],
)
def test_the_curve_is_the_packages(
    optimizer: dict[str, Any],
    build: type[torch.optim.Optimizer],
    batch_size: int,
    rule: dict[str, Any],
) -> None:
    # given the package's curve; it takes the rate to start with from the optimizer, or is told it
    data = noisy_plane(N_ROWS)
    arguments = {name: value for name, value in optimizer.items() if name != "kind"}
    told = {"start_lr": 1e-7} | rule
    found = find_lr(
        data.x, data.y, START, build, arguments,
        batch_size=batch_size, epochs=orders(batch_size), **told,
    )  # fmt: skip

    # when the engine tests the same range on the same batches
    spec = specification(optimizer=optimizer, init={"weights": START}, batch_size=batch_size)
    result = lr_range_test(spec, LrRange(**rule), data)

    # then it has the same points, ends at the same one, and suggests the same rate
    np.testing.assert_allclose(result.lr, found.lr, rtol=1e-12)
    np.testing.assert_allclose(result.loss, found.loss, rtol=1e-9)
    if found.suggestion is None:
        assert result.steepest is None
    else:
        assert result.steepest == pytest.approx(found.suggestion, rel=1e-12)
