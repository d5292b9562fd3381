"""How the plain loop makes an update: clipping, the optimizer, the schedule."""

from collections.abc import Callable

import torch
from torch import nn

from workers.engine.schedules import Interval
from workers.engine.specification import Specification
from workers.engine.trace import Trace


class Rule:
    """The optimizer of some parameters, and the schedule of its rate."""

    def __init__(self, spec: Specification, parameters: list[nn.Parameter], trace: Trace) -> None:
        self._parameters = parameters
        self._clip_grad_norm = spec.clip_grad_norm
        self._tolerance = spec.tolerance
        # Whether the last gradient's largest entry was below the tolerance.
        self.is_at_rest = False
        self._searches = spec.optimizer.searches
        self._optimizer = spec.optimizer.build(parameters)
        self._scheduled = spec.schedule
        if spec.schedule is not None:
            n_moves = trace.batches.n_moves(spec.schedule.interval)
            self._schedule = spec.schedule.build(self._optimizer, n_moves)

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
