"""PyTorch as its users write it: the usual loop over batches, by slices or by a DataLoader."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from tests.benchmarks.peers.answering import Ready, answer_requests
from tests.benchmarks.peers.figures import Fitted
from tests.benchmarks.peers.orders import epoch_generator, orders
from tests.benchmarks.workloads import Job

Batch = tuple[torch.Tensor, torch.Tensor]
Batches = Callable[["Table"], Iterator[Batch]]


@dataclass(frozen=True, eq=False)
class Table:
    """A job with its numbers as tensors: x (n, d), y (n, k), or (n,) classes."""

    job: Job
    x: torch.Tensor
    y: torch.Tensor


Descended = tuple[nn.Module, list[float]]


def prepare(jobs: list[Job], variant: str) -> Ready[list[Descended]]:
    """Tensors of the fits' dtype; a first step, for torch loads much of itself only then."""
    batches = _BATCHES[variant]
    tables = [_table(job) for job in jobs]
    _descend(tables[0], lambda table: iter([(table.x[:1], table.y[:1])]))
    return Ready(lambda: [_descend(table, batches) for table in tables], _read)


def descend_on(job: Job, device: str) -> None:
    """The usual loop with the data and the model on a device."""
    table = _table(job)
    _descend(Table(job, table.x.to(device), table.y.to(device)), _slices)


def _table(job: Job) -> Table:
    dtype = _dtype(job)
    y = torch.tensor(job.y, dtype=dtype) if job.n_classes is None else torch.tensor(job.y[:, 0])
    return Table(job, torch.tensor(job.x, dtype=dtype), y if job.n_classes is None else y.long())


def _dtype(job: Job) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, job.spec["dtype"])
    return dtype


def _descend(table: Table, batches: Batches) -> Descended:
    """The loop of every tutorial."""
    model = _model(table.job).to(table.x.device)
    optimizer = _optimizer(table.job, model)
    loss_of = nn.MSELoss() if table.job.n_classes is None else nn.CrossEntropyLoss()
    losses = []
    for x, y in batches(table):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def _model(job: Job) -> nn.Module:
    spec = job.spec["model"]
    widths = [array.shape[1] for array in job.init.values() if array.ndim == 2]
    n_outputs = len(list(job.init.values())[-1])
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([*widths, n_outputs]):
        layers.append(nn.Linear(n_in, n_out, dtype=_dtype(job)))
        layers.append(nn.Tanh() if spec.get("activation") == "tanh" else nn.ReLU())
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, initial in zip(model.parameters(), job.init.values(), strict=True):
            parameter.copy_(torch.tensor(initial))
    return model


def _optimizer(job: Job, model: nn.Module) -> optim.Optimizer:
    spec = job.spec["optimizer"]
    if spec["kind"] == "adam":
        return optim.Adam(model.parameters(), lr=spec["lr"])
    return optim.SGD(model.parameters(), lr=spec["lr"])


def _slices(table: Table) -> Iterator[Batch]:
    """The whole table again and again, or the rows of each batch by their numbers."""
    spec = table.job.spec
    if "steps" in spec:
        for _ in range(spec["steps"]):
            yield table.x, table.y
        return
    for order in orders(table.job):
        for rows in order.split(spec["batch_size"]):
            yield table.x[rows], table.y[rows]


def _loaded(table: Table) -> Iterator[Batch]:
    """A DataLoader over a TensorDataset, which is handed the order that the engine takes."""
    dataset = TensorDataset(table.x, table.y)
    for epoch in range(table.job.spec["epochs"]):
        sampler = RandomSampler(dataset, generator=epoch_generator(epoch))
        yield from DataLoader(dataset, table.job.spec["batch_size"], sampler=sampler)


_BATCHES: dict[str, Batches] = {"usual": _slices, "dataloader": _loaded}


def _read(descended: list[Descended]) -> Fitted:
    weights = [
        np.concatenate([parameter.detach().numpy().ravel() for parameter in model.parameters()])
        for model, _ in descended
    ]
    losses = np.array([losses for _, losses in descended])
    return Fitted(weights=np.stack(weights), losses=losses, strategies=[])


if __name__ == "__main__":
    answer_requests(partial(prepare, variant=sys.argv[1]), ("torch",))
