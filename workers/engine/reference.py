"""The plain PyTorch loop: the definition of a fit, for every specification."""

import math

import torch

from workers.engine.batches import Batches
from workers.engine.data import Shape
from workers.engine.dtypes import torch_dtype
from workers.engine.networks import Network
from workers.engine.objective import Objective
from workers.engine.results import Weights
from workers.engine.rows import Rows
from workers.engine.rule import Rule
from workers.engine.specification import Specification
from workers.engine.threads import threads_for, torch_threads
from workers.engine.trace import Trace

_CHUNK_WORK = 2**24
_STEP_OVERHEAD_WORK = 2**18


class ReferenceDescent:
    """A fit under way in the plain loop. See `workers.engine.descent.Descent`."""

    def __init__(
        self, spec: Specification, shape: Shape, rows: Rows, batches: Batches, initial: Weights
    ) -> None:
        work = batches.size * sum(w.size for w in initial.values() if w.ndim > 1)
        self._rows = rows
        self._model = spec.model.module(shape, torch_dtype(spec.dtype))
        # A batch norm's count of batches is no weight: nothing follows from it.
        self._model.load_state_dict(
            {n: torch.tensor(w) for n, w in initial.items()}, strict="norms.0.bias" not in initial
        )
        self._names = list(initial)
        self._shuffle_seed = spec.seeds.shuffle
        self._parameters = list(self._model.parameters())
        self._objective = Objective(self._model, spec.loss, spec.penalty)
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr)
        self._rule = Rule(spec, self._parameters, self.trace)
        self.n_steps = 0
        self.failed_step: int | None = None
        self.converged = False
        self.n_threads = threads_for(work)
        self.chunk_steps = max(1, _CHUNK_WORK // (work + _STEP_OVERHEAD_WORK))

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails."""
        with torch_threads(self.n_threads):
            for _ in range(n_steps):
                self._update()
                if self.failed_step is not None or self.converged:
                    return
                self.n_steps += 1

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        state = self._model.state_dict()
        return {name: state[name].numpy().copy() for name in self._names}

    @torch.no_grad()
    def final_loss(self) -> float:
        """The loss over the whole training set."""
        self._model.eval()
        with torch_threads(self.n_threads):
            loss = self._objective.mean(self._rows.all_parts())
        self._model.train()
        return loss

    def _update(self) -> None:
        before = self._state()
        loss, grad_norm = self._evaluate()
        if not math.isfinite(loss):
            self._fail(before)
            return
        if self._rule.is_at_rest:
            self.converged = True
            return
        self.trace.add(loss, grad_norm, self._rule.lr)
        self._rule.update(loss, lambda: self._evaluate()[0])
        if not all(bool(p.isfinite().all()) for p in self._parameters):
            self._fail(before)
            return
        self._rule.move(self.n_steps, loss)

    def _evaluate(self) -> tuple[float, float]:
        """The loss on the step's batch, and its gradient's norm; leaves the gradient, clipped."""
        self._rule.forget_gradients()
        if isinstance(self._model, Network):
            self._model.begin_step(self._shuffle_seed, self.n_steps)
        loss = self._objective.mean(self._rows.parts(self.n_steps))
        return loss, self._rule.take_gradient()

    def _state(self) -> list[torch.Tensor]:
        """Copies of all that a step changes: the parameters, and what batch norms keep."""
        return [tensor.detach().clone() for tensor in self._model.state_dict().values()]

    @torch.no_grad()
    def _fail(self, before: list[torch.Tensor]) -> None:
        self.failed_step = self.n_steps
        for tensor, value in zip(self._model.state_dict().values(), before, strict=True):
            tensor.copy_(value)
