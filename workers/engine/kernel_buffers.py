"""What an optimizer keeps from step to step, for compiled loops and as torch has it."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from workers.engine.dtypes import DType, Weights, numpy_dtype
from workers.engine.kernel_codes import RULE_CODES
from workers.engine.kernel_layout import Shapes
from workers.engine.kernel_products import Numbers
from workers.engine.kernel_rules import Buffers, Rule
from workers.engine.optimizer_buffers import buffer_names
from workers.engine.optimizers import Optimizer
from workers.engine.snapshot import Snapshot


def rule_of(optimizer: Optimizer) -> Rule:
    """The optimizer's rule and its arguments."""
    arguments = optimizer.all_arguments
    beta2 = arguments["betas"][1] if "betas" in arguments else arguments.get("alpha", 0.0)
    decoupled = arguments.get("decoupled_weight_decay", False)
    return Rule(
        kind=RULE_CODES["adamw" if decoupled else optimizer.kind],
        sign=-1.0 if optimizer.climbs else 1.0,
        weight_decay=float(arguments["weight_decay"]),
        dampening=float(arguments.get("dampening", 0.0)),
        nesterov=bool(arguments.get("nesterov", False)),
        beta2=float(beta2),
        eps=float(arguments.get("eps", 0.0)),
        amsgrad=bool(arguments.get("amsgrad", False)),
        centered=bool(arguments.get("centered", False)),
        lr_decay=float(arguments.get("lr_decay", 0.0)),
    )


class OptimizerBuffers:
    """The buffers of a fit, (p,) each, as it begins or goes on from a snapshot.

    `n_updates` (1,) and `is_moving` (1,) are what compiled loops count beside them.
    """

    def __init__(
        self, optimizer: Optimizer, n_parameters: int, dtype: DType, *, scheduled: bool
    ) -> None:
        self._kind = numpy_dtype(dtype)
        self._names = buffer_names(optimizer, scheduled=scheduled)
        room = {name: np.zeros(n_parameters, self._kind) for name in (*self._names, "candidate")}
        first = float(optimizer.arguments.get("initial_accumulator_value", 0.0))
        room.get("square", np.empty(0)).fill(first)
        none = np.empty(0, self._kind)
        self.buffers = Buffers(*(room.get(name, none) for name in Buffers._fields))
        self.n_updates = np.zeros(1)
        self.is_moving = np.zeros(1, np.bool_)
        self._counts = optimizer.kind != "sgd"

    def resume(self, snapshot: Snapshot) -> None:
        """Have what an earlier fit's optimizer had."""
        states = snapshot.optimizer
        for name, torchs in self._names.items():
            parts = [state.get(torchs) for state in states]
            if states and all(part is not None for part in parts):
                getattr(self.buffers, name)[:] = flat(parts, self._kind)
                self.is_moving[0] = True
        if states and "step" in states[0]:
            self.n_updates[0] = float(np.asarray(states[0]["step"]))

    def state(self, shapes: Shapes) -> list[dict[str, Any]]:
        """As torch's optimizer has it, a dictionary a parameter; none before the first update."""
        if not (self.n_updates[0] if self._counts else self.is_moving[0]):
            return []
        steps = {"step": np.array(self.n_updates[0], np.float32)} if self._counts else {}
        parts = {
            torchs: named(getattr(self.buffers, name).copy(), shapes)
            for name, torchs in self._names.items()
        }
        return [steps | {torchs: of[name] for torchs, of in parts.items()} for name in shapes]


def flat(arrays: Iterable[Any], kind: np.dtype[np.floating[Any]]) -> Numbers:
    """One array's numbers after the other's, in the precision."""
    return np.concatenate([np.asarray(array, kind).ravel() for array in arrays])


def named(vector: Numbers, shapes: Shapes) -> Weights:
    """The vector's parts by their names and in their shapes: views of it."""
    parts: Weights = {}
    at = 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        parts[name] = vector[at : at + size].reshape(shape)
        at += size
    return parts
