"""The plain PyTorch loop: the definition of a fit, for every specification."""

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from workers.engine.asides import MUCH_WORK, aside_if
from workers.engine.batches import Batches
from workers.engine.data import Shape
from workers.engine.dtypes import Weights, torch_dtype
from workers.engine.epoch_ends import EpochEnds
from workers.engine.interrupting import Interrupted, look
from workers.engine.named_parts import Arrays, joined, part
from workers.engine.networks import Network
from workers.engine.objective import Objective
from workers.engine.results import Status
from workers.engine.rows import Rows
from workers.engine.rule import Rule
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.threads import threads_for, torch_threads
from workers.engine.trace import Trace

State = Mapping[str, torch.Tensor]

_CHUNK_WORK = 2**24
_STEP_OVERHEAD_WORK = 2**18


class ReferenceDescent:
    """A fit under way in the plain loop. See `workers.engine.descent.Descent`.

    At each epoch's end it looks at the `held_out` rows, if there are any: `look_rows`, infinite
    where they are not in memory.
    """

    objective_of: type[Objective] = Objective
    rule_of: type[Rule] = Rule

    def __init__(
        self,
        spec: Specification,
        shape: Shape,
        rows: Rows,
        batches: Batches,
        start: Start,
        *,
        held_out: Rows | None = None,
        look_rows: float = 0,
    ) -> None:
        initial = start.weights if start.snapshot is None else start.snapshot.weights
        row_work = sum(w.size for w in initial.values() if w.ndim > 1)
        work = batches.size * row_work
        self._rows = rows
        self._row_work = row_work
        self._new_model = partial(spec.model.module, shape, torch_dtype(spec.dtype))
        self._model = self._new_model()
        # A batch norm's count of batches is no weight: nothing follows from it.
        self._model.load_state_dict(
            {n: torch.tensor(w) for n, w in initial.items()}, strict="norms.0.bias" not in initial
        )
        self._names = list(start.weights)
        self._shuffle_seed = spec.seeds.shuffle
        self._parameters = list(self._model.parameters())
        self._new_objective = partial(self.objective_of, loss=spec.loss, penalty=spec.penalty)
        self._objective = self._new_objective(self._model)
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr, start.snapshot)
        self._made_by = spec.optimizer.made_by
        self._rule = self.rule_of(spec, self._parameters, self.trace, start.snapshot)
        self._gradient = torch.empty(0)
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        watched = None if held_out is None else partial(self._loss_over, held_out)
        self._epoch_ends = EpochEnds(spec.early_stopping, watched)
        self._takes_long = work > MUCH_WORK
        self.n_threads = threads_for(work)
        self.chunk_steps = batches.steps_within(
            _CHUNK_WORK, work + _STEP_OVERHEAD_WORK, look_rows * row_work
        )

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        with torch_threads(self.n_threads):
            for _ in range(n_steps):
                self._update()
                if self.failed_step is not None or self.end is not None:
                    return

    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""
        if self._epoch_ends.best is not None:
            self._put(self._epoch_ends.best)

    @torch.no_grad()
    def _put(self, weights: Weights) -> None:
        state = self._model.state_dict()
        for name, weight in weights.items():
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
        return self.trace.snapshot(
            self.n_steps,
            made_by=self._made_by,
            weights=self.weights(),
            optimizer=self._rule.optimizer_state(),
            schedule=self._rule.schedule_state(),
        )

    def kept(self) -> Arrays | None:
        """Copies of all that `advance` changes, but for the trace; None within an epoch's end."""
        if self._epoch_ends.owes_a_look:
            return None
        return joined(
            {"snapshot": self.snapshot().to_arrays(), "epoch_ends": self._epoch_ends.kept()}
        )

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this."""
        self.n_steps = n_steps
        self._epoch_ends.take_up(part(kept, "epoch_ends"))
        self._rewind(Snapshot.from_arrays(part(kept, "snapshot")))

    def _rewind(self, snapshot: Snapshot) -> None:
        """Go back to the weights and the optimizer's state of this very fit."""
        self._put(snapshot.weights)
        self._rule.rewind(snapshot)

    def final_loss(self) -> float:
        """The loss over the whole training set."""
        with torch_threads(self.n_threads):
            return self._loss_over(self._rows)

    def _loss_over(self, rows: Rows) -> float:
        """Over all of the rows, as predictions are made: without dropout."""
        takes_long = rows.n_rows * self._row_work > MUCH_WORK
        # What may be left alone with a model must have one of its own.
        model = self._twin() if takes_long else self._model
        objective = self._new_objective(model) if takes_long else self._objective

        @torch.no_grad()
        def mean() -> float:
            return objective.mean(rows.all_parts())

        model.eval()
        try:
            return aside_if(takes_long, mean)
        finally:
            model.train()

    def _update(self) -> None:
        before = self._state()
        try:
            loss = self._make_update(before)
        except Interrupted:
            self._part_with(before)
            raise
        if loss is None:
            return
        self.n_steps += 1
        self._rule.move("step", loss)
        if self.trace.batches.ends_epoch(self.n_steps):
            self._end_epoch(self.trace.batches.epoch_of(self.n_steps - 1))

    def _make_update(self, before: State) -> float | None:
        """The loss before the update; None where the fit came to an end instead."""
        loss, grad_norm = self._evaluate()
        self._gradient = self._rule.gradient
        if not math.isfinite(loss):
            self._fail(before)
            return None
        if self._rule.is_at_rest:
            self.end = "converged"
            return None
        lr = self._rule.lr
        self._rule.update(loss, self._evaluate_again)
        self.trace.add(loss, grad_norm, lr)
        if not self._is_finite():
            self._fail(before)
            return None
        return loss

    def _end_epoch(self, epoch: int) -> None:
        """Look at the held-out rows, move the rate, and see whether the fit still gets better."""
        loss = self._epoch_ends.look(self.trace, epoch, self.weights)
        self._rule.move("epoch", loss)
        if self._epoch_ends.is_over:
            self.end = "early_stopped"

    def _evaluate(self) -> tuple[float, float]:
        """The loss on the step's batch, and its gradient's norm; leaves the gradient, clipped."""
        self._rule.forget_gradients()
        if isinstance(self._model, Network):
            position = self.trace.batches.position + self.n_steps
            self._model.begin_step(self._shuffle_seed, position)
        parts = self._rows.parts(self.n_steps)
        loss = aside_if(self._takes_long, partial(self._objective.mean, parts))
        return loss, self._rule.take_gradient()

    def _evaluate_again(self) -> float:
        look()
        return self._evaluate()[0]

    def _state(self) -> State:
        """Copies of all that a step changes: the parameters, and what batch norms keep."""
        return {name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()}

    def _is_finite(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self._parameters)

    def _fail(self, before: State) -> None:
        self.failed_step = self.n_steps
        self._go_to(before)

    def _part_with(self, before: State) -> None:
        """Go back to before the update that was interrupted.

        The model is left to the thread that may still compute with it, and write gradients.
        """
        if self._takes_long:
            self._model = self._twin()
            self._parameters = list(self._model.parameters())
            self._objective = self._new_objective(self._model)
            self._rule.move_to(self._parameters)
        self._go_to(before)

    def _twin(self) -> nn.Module:
        """Another model with the same numbers."""
        twin = self._new_model()
        twin.load_state_dict(self._model.state_dict())
        return twin

    @torch.no_grad()
    def _go_to(self, before: State) -> None:
        now = self._model.state_dict()
        for name, value in before.items():
            now[name].copy_(value)
