"""The package torch-lr-finder itself, on a linear model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler, TensorDataset
from torch_lr_finder import LRFinder

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoundCurve:
    """Its history, and the rate that its plot suggests; None where it has too few points."""

    lr: list[float]
    loss: list[float]
    suggestion: float | None


class _Order(Sampler[int]):
    """The rows of the first epoch, then, asked anew, those of the next one."""

    def __init__(self, epochs: Iterable[list[int]]) -> None:
        self._epochs = iter(epochs)

    def __iter__(self) -> Iterator[int]:
        return iter(next(self._epochs))


def find_lr(
    x: Floats,
    y: Floats,
    start: dict[str, Any],
    optimizer: type[torch.optim.Optimizer],
    arguments: dict[str, Any],
    *,
    batch_size: int,
    epochs: Iterable[list[int]],
    **rule: Any,
) -> FoundCurve:
    """Its curve of the mean squared error, in float64, from the weights of `start`.

    x: (n, d), y: (n, k); `epochs` are orders of the rows; `rule` is what its `range_test` takes.
    """
    data = TensorDataset(torch.tensor(x), torch.tensor(y))
    loader = DataLoader(data, batch_size=batch_size, sampler=_Order(epochs))
    model = torch.nn.Linear(x.shape[1], y.shape[1], dtype=torch.float64)
    model.load_state_dict({name: torch.tensor(weights) for name, weights in start.items()})
    moved = optimizer(model.parameters(), **arguments)
    finder = LRFinder(model, moved, torch.nn.MSELoss())
    finder.range_test(loader, **rule)
    history = finder.history
    suggestion = None
    if len(history["lr"]) >= 17:
        _, suggestion = finder.plot(ax=Figure().subplots())
    return FoundCurve(history["lr"], history["loss"], suggestion)
