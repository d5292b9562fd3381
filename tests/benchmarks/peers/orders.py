"""The engine's shuffled orders, for peers that can take an order that is given."""

import torch

from tests.benchmarks.workloads import Job


def epoch_generator(epoch: int) -> torch.Generator:
    """The generator of this epoch's `torch.randperm`, by the README's formula for the seed 0."""
    return torch.Generator().manual_seed(epoch)


def orders(job: Job) -> list[torch.Tensor]:
    """The rows' order in each epoch, (n,) int64."""
    epochs = range(job.spec["epochs"])
    return [torch.randperm(len(job.x), generator=epoch_generator(epoch)) for epoch in epochs]
