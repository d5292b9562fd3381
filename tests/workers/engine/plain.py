"""Fits as a reader would write them down in PyTorch, from the README alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine import Data

Floats = NDArray[np.floating[Any]]


@dataclass
class PlainFit:
    """The whole history of a plain loop, and what it ended with."""

    loss: Floats
    grad_norm: Floats
    weights: dict[str, Floats]
    final_loss: float


def plain_fit(spec: dict[str, Any], data: Data, initial: dict[str, Any], dtype: str) -> PlainFit:
    """Run the specification from these weights, computing in `dtype`."""
    x, y = (torch.tensor(a, dtype=getattr(torch, dtype)) for a in (data.x, data.y))
    weight = torch.tensor(initial["weight"], dtype=x.dtype, requires_grad=True)
    parameters = {"weight": weight}
    if spec["model"]["bias"]:
        bias = torch.tensor(initial["bias"], dtype=x.dtype, requires_grad=True)
        parameters["bias"] = bias
    optimizer = optimizer_of(spec, list(parameters.values()))
    losses, norms = [], []

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        predicted = x[rows] @ weight.T
        if "bias" in parameters:
            predicted = predicted + parameters["bias"]
        losses = ((y[rows] - predicted) ** 2).mean(dim=1)
        if data.weight is None:
            return losses.mean()
        counts = torch.tensor(data.weight, dtype=x.dtype)[rows]
        return (counts * losses).sum() / counts.sum() if counts.any() else 0 * losses.sum()

    for rows in batches_of(spec, len(x)):
        optimizer.zero_grad()
        loss = loss_of(rows)
        loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in parameters.values() if p.grad is not None])
        losses.append(loss.item())
        norms.append(gradients.norm().item())
        optimizer.step()
    return PlainFit(
        loss=np.array(losses),
        grad_norm=np.array(norms),
        weights={name: p.detach().numpy() for name, p in parameters.items()},
        final_loss=loss_of(torch.arange(len(x))).item(),
    )


def optimizer_of(spec: dict[str, Any], parameters: list[torch.Tensor]) -> torch.optim.SGD:
    """The specification's optimizer."""
    arguments = {name: value for name, value in spec["optimizer"].items() if name != "kind"}
    return torch.optim.SGD(parameters, **arguments)


def batches_of(spec: dict[str, Any], n_rows: int) -> list[torch.Tensor]:
    """The rows of every update, in order."""
    size = spec["batch_size"] or n_rows
    batches: list[torch.Tensor] = []
    epoch = 0
    while len(batches) < (spec["steps"] or 10**9) and epoch < (spec["epochs"] or 10**9):
        order = torch.arange(n_rows)
        if spec["shuffle"] and size < n_rows:
            generator = torch.Generator().manual_seed((2654435761 * spec["seed"] + epoch) % 2**32)
            order = torch.randperm(n_rows, generator=generator)
        cut = torch.split(order, size)
        batches += [rows for rows in cut if len(rows) == size or not spec["drop_last"]]
        epoch += 1
    return batches[: spec["steps"]]
