"""The plain PyTorch loop: the definition of a fit, for every specification."""

import math
from collections.abc import Iterator

import torch

from workers.engine.batches import Batches
from workers.engine.data import Shape
from workers.engine.dtypes import torch_dtype
from workers.engine.results import Weights
from workers.engine.rows import Part, Rows
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
        work = batches.size * shape.n_features * shape.n_targets
        self._rows = rows
        self._model = spec.model.module(shape, torch_dtype(spec.dtype))
        self._model.load_state_dict({n: torch.tensor(w) for n, w in initial.items()})
        self._parameters = list(self._model.parameters())
        self._loss = spec.loss
        self._optimizer = spec.optimizer.build(self._parameters)
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
            return self._mean_loss(self._rows.all_parts())

    def _update(self) -> None:
        self._optimizer.zero_grad()
        loss = self._mean_loss(self._rows.parts(self.n_steps))
        if not math.isfinite(loss):
            self.failed_step = self.n_steps
            return
        self.trace.add(loss, self._grad_norm())
        before = [p.detach().clone() for p in self._parameters]
        self._optimizer.step()
        if not all(bool(p.isfinite().all()) for p in self._parameters):
            self.failed_step = self.n_steps
            self._restore(before)

    def _mean_loss(self, parts: Iterator[Part]) -> float:
        """The mean loss of all parts together; leaves its gradient, where one is kept."""
        total = weight = unit = 0.0
        for part in parts:
            # In units of the first part a batch in one part, as most are, counts just 1.
            counts = _total_weight(part)
            unit = unit or counts
            share = counts / (unit or 1.0)
            total += self._add(part, share)
            weight += share
            # A window must be gone before the next one comes.
            del part
        if weight in (0.0, 1.0):
            return total
        if torch.is_grad_enabled():
            self._divide_gradients(weight)
        return total / weight

    def _add(self, part: Part, share: float) -> float:
        """The part's loss times its share; its gradient is added to the others'."""
        loss = self._part_loss(part)
        if share != 1.0:
            loss = share * loss
        if torch.is_grad_enabled():
            loss.backward()
        return loss.item()

    def _divide_gradients(self, by: float) -> None:
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad /= by

    def _part_loss(self, part: Part) -> torch.Tensor:
        prediction = self._model(part.x)
        if part.weight is None:
            return self._loss.mean(prediction, part.y)
        losses = self._loss.of_samples(prediction, part.y)
        # Rows that all count nothing have no loss, and pull nowhere.
        return (part.weight * losses).sum() / (part.weight.sum() or 1.0)

    def _grad_norm(self) -> float:
        gradients = [p.grad.flatten() for p in self._parameters if p.grad is not None]
        return float(torch.linalg.vector_norm(torch.cat(gradients)))

    @torch.no_grad()
    def _restore(self, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, weights, strict=True):
            parameter.copy_(value)


def _total_weight(part: Part) -> float:
    return float(len(part.y)) if part.weight is None else float(part.weight.double().sum())
