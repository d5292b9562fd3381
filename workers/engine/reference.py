"""The plain PyTorch loop: the definition of a fit, for every specification."""

import math

import torch

from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import torch_dtype
from workers.engine.results import Weights
from workers.engine.shuffling import shuffle_rows
from workers.engine.specification import Specification
from workers.engine.threads import threads_for, torch_threads
from workers.engine.trace import Trace

_CHUNK_WORK = 2**24
_STEP_OVERHEAD_WORK = 2**18


class ReferenceDescent:
    """A fit under way in the plain loop. See `workers.engine.descent.Descent`."""

    def __init__(self, spec: Specification, data: Data, batches: Batches, initial: Weights) -> None:
        dtype = torch_dtype(spec.dtype)
        work = batches.size * data.shape.n_features * data.shape.n_targets
        # torch's own allocations are aligned, numpy's are not always, and the order in which a
        # matrix product sums depends on it: the data are copied so that the bits stay the same.
        self._x = torch.tensor(data.x, dtype=dtype)
        self._y = torch.tensor(data.y, dtype=dtype)
        self._model = spec.model.module(data.shape, dtype)
        self._model.load_state_dict({n: torch.tensor(w) for n, w in initial.items()})
        self._parameters = list(self._model.parameters())
        self._loss = spec.loss.module()
        self._optimizer = spec.optimizer.build(self._parameters)
        self._batches = batches
        self._shuffle_seed = spec.seeds.shuffle
        self.trace = Trace(batches, spec.record.every)
        self.n_steps = 0
        self.failed_step: int | None = None
        self.n_threads = threads_for(work)
        self.chunk_steps = max(1, _CHUNK_WORK // (work + _STEP_OVERHEAD_WORK))

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails."""
        with torch_threads(self.n_threads):
            for _ in range(n_steps):
                self._update()
                if self.failed_step is not None:
                    return
                self.n_steps += 1

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        return {n: p.detach().numpy().copy() for n, p in self._model.named_parameters()}

    @torch.no_grad()
    def final_loss(self) -> float:
        """The loss over the whole training set."""
        with torch_threads(self.n_threads):
            return float(self._loss(self._model(self._x), self._y))

    def _update(self) -> None:
        x, y = self._batch()
        self._optimizer.zero_grad()
        loss = self._loss(self._model(x), y)
        if not math.isfinite(loss.item()):
            self.failed_step = self.n_steps
            return
        loss.backward()
        self.trace.add(loss.item(), self._grad_norm())
        before = [p.detach().clone() for p in self._parameters]
        self._optimizer.step()
        if not all(bool(p.isfinite().all()) for p in self._parameters):
            self.failed_step = self.n_steps
            self._restore(before)

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        first, stop = self._batches.bounds(self.n_steps)
        if not self._batches.shuffled:
            return self._x[first:stop], self._y[first:stop]
        if first == 0:
            epoch = self.n_steps // self._batches.per_epoch
            self._order = shuffle_rows(self._batches.n_rows, self._shuffle_seed, epoch)
        rows = self._order[first:stop]
        return self._x.index_select(0, rows), self._y.index_select(0, rows)

    def _grad_norm(self) -> float:
        gradients = [p.grad.flatten() for p in self._parameters if p.grad is not None]
        return float(torch.linalg.vector_norm(torch.cat(gradients)))

    @torch.no_grad()
    def _restore(self, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, weights, strict=True):
            parameter.copy_(value)
