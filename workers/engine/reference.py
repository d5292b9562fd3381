"""The plain PyTorch loop: the definition of a fit, for every specification."""

import math

import torch

from workers.engine.batches import Batches
from workers.engine.data import Shape
from workers.engine.dtypes import Weights, torch_dtype
from workers.engine.early_stopping import Patience
from workers.engine.networks import Network
from workers.engine.objective import Objective
from workers.engine.results import Status
from workers.engine.rows import Rows
from workers.engine.rule import Rule
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.threads import threads_for, torch_threads
from workers.engine.trace import Trace

_CHUNK_WORK = 2**24
_STEP_OVERHEAD_WORK = 2**18


class ReferenceDescent:
    """A fit under way in the plain loop. See `workers.engine.descent.Descent`."""

    def __init__(
        self,
        spec: Specification,
        shape: Shape,
        rows: Rows,
        batches: Batches,
        start: Start,
        *,
        held_out: Rows | None = None,
    ) -> None:
        initial = start.weights if start.snapshot is None else start.snapshot.weights
        work = batches.size * sum(w.size for w in initial.values() if w.ndim > 1)
        self._rows = rows
        self._held_out = held_out
        self._model = spec.model.module(shape, torch_dtype(spec.dtype))
        # A batch norm's count of batches is no weight: nothing follows from it.
        self._model.load_state_dict(
            {n: torch.tensor(w) for n, w in initial.items()}, strict="norms.0.bias" not in initial
        )
        self._names = list(start.weights)
        self._shuffle_seed = spec.seeds.shuffle
        self._parameters = list(self._model.parameters())
        self._objective = Objective(self._model, spec.loss, spec.penalty)
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr, start.snapshot)
        self._made_by = spec.optimizer.made_by
        self._rule = Rule(spec, self._parameters, self.trace, start.snapshot)
        self._gradient = torch.empty(0)
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        self._patience = None if spec.early_stopping is None else Patience(spec.early_stopping)
        self._best: Weights | None = None
        self.n_threads = threads_for(work)
        self.chunk_steps = max(1, _CHUNK_WORK // (work + _STEP_OVERHEAD_WORK))

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        with torch_threads(self.n_threads):
            for _ in range(n_steps):
                self._update()
                if self.failed_step is not None or self.end is not None:
                    return

    @torch.no_grad()
    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""
        if self._best is not None:
            state = self._model.state_dict()
            for name, weight in self._best.items():
                state[name].copy_(torch.tensor(weight))

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        state = self._model.state_dict()
        return {name: state[name].numpy().copy() for name in self._names}

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, before clipping, by the parameters' names."""
        named = dict(self._model.named_parameters())
        parts = self._gradient.split([parameter.numel() for parameter in named.values()])
        return {
            name: part.view(parameter.shape).numpy().copy()
            for (name, parameter), part in zip(named.items(), parts, strict=True)
        }

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from the last update."""
        batches = self.trace.batches
        return Snapshot(
            position=batches.position + self.n_steps,
            per_epoch=batches.per_epoch,
            epoch_sum=self.trace.unfinished_sum(),
            made_by=self._made_by,
            weights=self.weights(),
            optimizer=self._rule.optimizer_state(),
            schedule=self._rule.schedule_state(),
        )

    def final_loss(self) -> float:
        """The loss over the whole training set."""
        with torch_threads(self.n_threads):
            return self._loss_over(self._rows)

    @torch.no_grad()
    def _loss_over(self, rows: Rows) -> float:
        """Over all of the rows, as predictions are made: without dropout."""
        self._model.eval()
        loss = self._objective.mean(rows.all_parts())
        self._model.train()
        return loss

    def _update(self) -> None:
        before = self._state()
        loss, grad_norm = self._evaluate()
        self._gradient = self._rule.gradient
        if not math.isfinite(loss):
            self._fail(before)
            return
        if self._rule.is_at_rest:
            self.end = "converged"
            return
        self.trace.add(loss, grad_norm, self._rule.lr)
        self._rule.update(loss, lambda: self._evaluate()[0])
        if not all(bool(p.isfinite().all()) for p in self._parameters):
            self._fail(before)
            return
        self.n_steps += 1
        self._rule.move("step", loss)
        if self.trace.batches.ends_epoch(self.n_steps):
            self._end_epoch(self.trace.batches.epoch_of(self.n_steps - 1))

    def _end_epoch(self, epoch: int) -> None:
        """Look at the held-out rows, move the rate, and see whether the fit still gets better."""
        train_loss = loss = self.trace.epoch_loss(epoch)
        if self._held_out is not None:
            loss = self._loss_over(self._held_out)
            self.trace.validation_loss[epoch] = loss
        self._rule.move("epoch", loss)
        if self._patience is None:
            return
        best = self._patience.look(train_loss=train_loss, validation_loss=loss)
        if best and self._patience.keeps_the_best:
            self._best = self.weights()
        if self._patience.is_over:
            self.end = "early_stopped"

    def _evaluate(self) -> tuple[float, float]:
        """The loss on the step's batch, and its gradient's norm; leaves the gradient, clipped."""
        self._rule.forget_gradients()
        if isinstance(self._model, Network):
            position = self.trace.batches.position + self.n_steps
            self._model.begin_step(self._shuffle_seed, position)
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
