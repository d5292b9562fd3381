"""Fits on a CUDA device beside the same ones on the CPU, and torch's usual loop on the device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch

from tests.benchmarks import lineup
from tests.benchmarks.peers import ours, torch_loops
from tests.benchmarks.timing import Timing, interleaved
from tests.benchmarks.workloads import Job
from workers.engine import Data, fit

_NAMES = ("digits", "large_mlp", "large_table")
WORKLOADS = tuple(workload for workload in lineup.WORKLOADS if workload.name in _NAMES)
_ROUNDS = 5


def device_name() -> str:
    """The device's name; nothing where torch sees none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def measure(workload: lineup.Workload) -> list[Timing]:
    """From the initial weights to the last, every step's loss with them."""
    (job,) = workload.work.jobs()
    calls = {
        "ours on the device": _ours(job, "cuda"),
        "ours on the CPU": _ours(job, "cpu"),
        "usual torch loop on the device": lambda: torch_loops.descend_on(job, "cuda"),
    }
    return interleaved(calls, _ROUNDS, warm_up_rounds=1)


def _ours(job: Job, device: Literal["cpu", "cuda"]) -> Callable[[], None]:
    spec = replace(ours.specification(job, "auto"), device=device)
    data = Data(x=job.x, y=job.y, n_classes=job.n_classes)

    def run() -> None:
        fit(spec, data)

    return run
