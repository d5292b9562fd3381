"""How the plain loop makes an update: clipping, the optimizer, the schedule."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn, optim

from workers.engine.interrupting import Interrupted
from workers.engine.schedule_state import put, take_up, write_down
from workers.engine.schedules import Interval
from workers.engine.snapshot import ScheduleState, Snapshot, in_tensors
from workers.engine.specification import Specification
from workers.engine.trace import Trace


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
        self._spec = spec
        self._optimizer = self._build(parameters)
        self._scheduled = spec.schedule
        if spec.schedule is not None:
            n_moves = trace.batches.n_moves(spec.schedule.interval)
            self._schedule = spec.schedule.build(self._optimizer, n_moves)
            state = None if snapshot is None else snapshot.schedule
            take_up(spec, state, self._schedule, self._optimizer, n_moves)
        if snapshot is not None:
            self._resume(snapshot)

    def _build(self, parameters: list[nn.Parameter]) -> optim.Optimizer:
        return self._spec.optimizer.build(parameters)

    def _resume(self, snapshot: Snapshot) -> None:
        # Not by torch's `load_state_dict`, which rounds anew what is kept in another precision.
        for parameter, state in zip(self._parameters, snapshot.optimizer, strict=False):
            kept = self._optimizer.state[parameter]
            kept.update(_in_kind(in_tensors(state), parameter))
            # torch makes it at the first update alone, when no schedule may have set a momentum.
            if kept and self._spec.optimizer.kind == "rmsprop" and self._scheduled is not None:
                kept.setdefault("momentum_buffer", torch.zeros_like(parameter))

    def rewind(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this very fit."""
        self._optimizer.state.clear()
        self._resume(snapshot)
        if snapshot.schedule is not None:
            put(snapshot.schedule, self._schedule, self._optimizer)

    def move_to(self, parameters: list[nn.Parameter]) -> None:
        """Go on with these parameters instead, one for one."""
        state = self._optimizer.state
        moved: dict[torch.Tensor, Any] = {
            new: state.pop(old)
            for old, new in zip(self._parameters, parameters, strict=True)
            if old in state
        }
        state.update(moved)
        self._parameters = parameters
        [group] = self._optimizer.param_groups
        # In place: a search has this very list.
        group["params"][:] = parameters

    def optimizer_state(self) -> list[dict[str, Any]]:
        """The optimizer's state, a dictionary a parameter; none before the first update."""
        state = self._optimizer.state
        if not state:
            return []
        return [in_tensors(state.get(parameter, {})) for parameter in self._parameters]

    def schedule_state(self) -> ScheduleState | None:
        """Where the schedule is, and the rate and momentum that it has set."""
        if self._scheduled is None:
            return None
        return write_down(self._spec, self._schedule, self._optimizer.param_groups[0])

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        return float(self._optimizer.param_groups[0]["lr"])

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
        """One update from the gradients; a searching optimizer asks for more of them by `again`.

        Where that raises Interrupted, the optimizer's state is what it was: the parameters are not.
        """
        if not self._searches:
            self._optimizer.step()
            return
        before = {key: _noted(state) for key, state in self._optimizer.state.items()}
        # What it asks for first is known already.
        known = [loss]
        try:
            self._optimizer.step(lambda: known.pop() if known else again())
        except Interrupted:
            self._optimizer.state.clear()
            self._optimizer.state.update(before)
            raise

    def tick(self) -> None:
        """Count an update that was made elsewhere: torch's schedules see that there was one."""
        self._optimizer.step()

    def move(self, interval: Interval, loss: float) -> None:
        """Move the rate on after an update, or an epoch, of this loss, if it moves then."""
        if self._scheduled is None or self._scheduled.interval != interval:
            return
        if self._scheduled.looks_at_the_loss:
            self._schedule.step(loss)  # type: ignore[arg-type]
        else:
            self._schedule.step()


def _noted(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a search before a step, which drops remembered vectors, but changes none."""
    return {
        name: value.clone() if isinstance(value, torch.Tensor) else copy.copy(value)
        for name, value in state.items()
    }


def _in_kind(state: dict[str, Any], parameter: nn.Parameter) -> dict[str, Any]:
    """Buffers of another precision in the parameter's; counts, which have no axis, as they are."""
    return {
        name: value.to(parameter.dtype) if isinstance(value, torch.Tensor) and value.ndim else value
        for name, value in state.items()
    }
