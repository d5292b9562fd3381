"""How the plain loop makes an update: clipping, the optimizer, the schedule."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from workers.engine.errors import SpecificationError
from workers.engine.schedules import Interval
from workers.engine.snapshot import ScheduleState, Snapshot, in_tensors
from workers.engine.specification import Specification
from workers.engine.trace import Trace

# What a schedule sets in the optimizer's group.
_MOVED = ("lr", "momentum", "betas")


class Rule:
    """The optimizer of some parameters, and the schedule of its rate.

    They go on from a snapshot's state, if there is one. Raises SpecificationError where it is
    another optimizer's, or where the schedule ends too early.
    """

    def __init__(
        self,
        spec: Specification,
        parameters: list[nn.Parameter],
        trace: Trace,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._parameters = parameters
        self._clip_grad_norm = spec.clip_grad_norm
        self._tolerance = spec.tolerance
        # Whether the last gradient's largest entry was below the tolerance.
        self.is_at_rest = False
        self._searches = spec.optimizer.searches
        self.gradient = torch.empty(0)
        self._initial_lr = spec.optimizer.lr
        self._optimizer = spec.optimizer.build(parameters)
        self._scheduled = spec.schedule
        if spec.schedule is not None:
            n_moves = trace.batches.n_moves(spec.schedule.interval)
            self._schedule = spec.schedule.build(self._optimizer, n_moves)
            self._n_moves = n_moves
        if snapshot is not None:
            self._resume(snapshot)

    def _resume(self, snapshot: Snapshot) -> None:
        schedule = snapshot.schedule
        if schedule is not None and schedule.made_of == self._made_of():
            _refuse_past_the_end(schedule, self._n_moves)
            self.return_to(schedule)
        # Not by torch's `load_state_dict`, which rounds anew what is kept in another precision.
        for parameter, state in zip(self._parameters, snapshot.optimizer, strict=False):
            self._optimizer.state[parameter].update(in_tensors(state))

    def return_to(self, schedule: ScheduleState) -> None:
        """Have the schedule, and what it sets, as they were."""
        vars(self._schedule).update(schedule.state)
        moved = {k: tuple(v) if isinstance(v, list) else v for k, v in schedule.group.items()}
        self.group.update(moved)

    def _made_of(self) -> dict[str, Any] | None:
        """What tells the schedule from others, as JSON says it."""
        if self._scheduled is None:
            return None
        made_of = {"initial_lr": self._initial_lr, **asdict(self._scheduled)}
        plain: dict[str, Any] = json.loads(json.dumps(made_of))
        return plain

    def optimizer_state(self) -> list[dict[str, Any]]:
        """The optimizer's state, a dictionary a parameter; none before the first update."""
        state = self._optimizer.state
        if not state:
            return []
        return [in_tensors(state.get(parameter, {})) for parameter in self._parameters]

    def schedule_state(self) -> ScheduleState | None:
        """Where the schedule is, and the rate and momentum that it has set."""
        made_of = self._made_of()
        if made_of is None:
            return None
        kept = {k: self.group[k] for k in _MOVED if k in self.group}
        # What is no number, or a list of them, follows from what it was made of.
        state = {k: v for k, v in self._schedule.state_dict().items() if _is_numeric(v)}
        return ScheduleState(made_of, state, kept)

    @property
    def group(self) -> dict[str, Any]:
        """The arguments of the next update, as the schedule has set them."""
        group: dict[str, Any] = self._optimizer.param_groups[0]
        return group

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        return float(self.group["lr"])

    def forget_gradients(self) -> None:
        """Before a gradient is computed anew."""
        self._optimizer.zero_grad()

    def take_gradient(self) -> float:
        """The gradient's L2 norm over all parameters; after it the gradient may be clipped."""
        gradient = torch.cat([p.grad.flatten() for p in self._parameters if p.grad is not None])
        self.gradient = gradient
        norm = torch.linalg.vector_norm(gradient)
        if self._tolerance is not None:
            self.is_at_rest = float(gradient.abs().max()) < self._tolerance
        if self._clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip_grad_norm, norm)
        return float(norm)

    def update(self, loss: float, again: Callable[[], float]) -> None:
        """One update from the gradients; a searching optimizer asks for more of them by `again`."""
        if not self._searches:
            self._optimizer.step()
            return
        # What it asks for first is known already.
        known = [loss]
        self._optimizer.step(lambda: known.pop() if known else again())

    def move(self, interval: Interval, loss: float) -> None:
        """Move the rate on after an update, or an epoch, of this loss, if it moves then."""
        if self._scheduled is None or self._scheduled.interval != interval:
            return
        if self._scheduled.looks_at_the_loss:
            self._schedule.step(loss)  # type: ignore[arg-type]
        else:
            self._schedule.step()


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float)


def _refuse_past_the_end(schedule: ScheduleState, n_moves: int) -> None:
    """Raise SpecificationError where a cycle that has begun is too short for the rest."""
    made = schedule.state["last_epoch"]
    total = schedule.state.get("total_steps", math.inf)
    if made + n_moves > total:
        detail = f"the cycle of {total} moves has made {made}, and {n_moves} more are to come"
        raise SpecificationError("/scheduler/total_steps", detail)
