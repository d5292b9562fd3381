"""The rates and the momenta of the steps ahead."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workers.engine.rule import Rule
from workers.engine.snapshot import ScheduleState, Snapshot
from workers.engine.specification import Specification
from workers.engine.trace import Trace

Floats = NDArray[np.float64]


class Rates:
    """torch's own schedule, moved step by step on an optimizer that has nothing to update.

    Without a schedule all steps have one rate and one momentum.
    """

    def __init__(self, spec: Specification, trace: Trace, snapshot: Snapshot | None) -> None:
        self._batches = trace.batches
        self._rule: Rule | None = None
        self._first = 0
        self._before: ScheduleState | None = None
        if spec.schedule is None:
            arguments = spec.optimizer.arguments
            self._constant = np.array([spec.optimizer.lr]), np.array([_momentum(arguments)])
            return
        bare = None if snapshot is None else replace(snapshot, optimizer=[])
        self._rule = Rule(spec, [nn.Parameter(torch.zeros(1))], trace, bare)
        # torch warns of a schedule that moves before its optimizer.
        self._rule.update(0.0, lambda: 0.0)

    def ahead(self, first: int, stop: int) -> tuple[Floats, Floats]:
        """The rates and the momenta of the steps [first, stop): one each, or one for all."""
        if self._rule is None:
            return self._constant
        self._first, self._before = first, self._rule.schedule_state()
        both = np.empty((2, stop - first))
        for step in range(first, stop):
            both[:, step - first] = self._rule.lr, _momentum(self._rule.group)
            self._pass(self._rule, step)
        return both[0], both[1]

    def go_back(self, n_steps: int) -> None:
        """After so many steps in all there came no more: be where these have led."""
        if self._rule is None or self._before is None:
            return
        self._rule.return_to(self._before)
        for step in range(self._first, n_steps):
            self._pass(self._rule, step)

    def _pass(self, rule: Rule, step: int) -> None:
        rule.move("step", 0.0)
        if self._batches.ends_epoch(step + 1):
            rule.move("epoch", 0.0)

    def state(self) -> ScheduleState | None:
        """Where the schedule is; None without one."""
        return None if self._rule is None else self._rule.schedule_state()


def _momentum(arguments: Mapping[str, Any]) -> float:
    """What a schedule of rates moves beside them: the momentum, or the first of the betas."""
    return float(arguments["betas"][0] if "betas" in arguments else arguments.get("momentum", 0.0))
