"""A fit under way in the compiled loops."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.engine import kernels
from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import Weights
from workers.engine.epoch_ends import EpochEnds
from workers.engine.interrupting import Interrupted, look
from workers.engine.kernel_buffers import flat, named
from workers.engine.kernel_rows import Rows
from workers.engine.kernel_setting import Setting, set_up
from workers.engine.named_parts import Arrays, copied_fields, joined, part, put_fields
from workers.engine.rates import Rates
from workers.engine.results import Status
from workers.engine.shuffling import shuffle_rows
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.threads import torch_threads
from workers.engine.trace import Trace

Floats = NDArray[np.float64]

_CHUNK_WORK = 2**24
_PAUSE_WORK = 2**28
_STEP_OVERHEAD_WORK = 2**6
_SHUFFLE_OVERHEAD_WORK = 2**15
_SHUFFLE_ROW_WORK = 2**3


class KernelDescent:
    """A fit under way in the compiled loops. See `workers.engine.descent.Descent`.

    `held_out` gives the loss of weights on held-out rows, if there are any: `look_rows`, infinite
    where they are not in memory. Raises ValueError where the start's weights are not for such rows.
    """

    n_threads = 1

    def __init__(
        self,
        spec: Specification,
        data: Data,
        batches: Batches,
        start: Start,
        *,
        held_out: Callable[[Weights], float] | None = None,
        look_rows: float = 0,
    ) -> None:
        self._shapes = {name: array.shape for name, array in start.weights.items()}
        self._setting = set_up(spec, data, batches, start)
        self._rows = self._setting.rows
        self._batches = batches
        self._shuffle_seed = spec.seeds.shuffle
        self._shuffled: int | None = None
        self._rates = Rates(spec, batches, start.snapshot)
        self._is_scheduled = spec.schedule is not None
        self._made_by = spec.optimizer.made_by
        watched = None if held_out is None else lambda: held_out(self.weights())
        self._epoch_ends = EpochEnds(spec.early_stopping, watched)
        self._most_rows = _rows_at_once(self._setting)
        self.trace = trace = Trace(batches, spec.record.every, spec.optimizer.lr, start.snapshot)
        self._record = kernels.Record(
            trace.loss, trace.grad_norm, trace.lr, trace.epoch_sums, spec.record.every
        )
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        self.chunk_steps = batches.steps_within(
            _CHUNK_WORK,
            _step_work(batches, self._setting),
            look_rows * len(self._setting.parameters),
        )

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        stop = self.n_steps + n_steps
        while self.n_steps < stop and self.failed_step is None and self.end is None:
            self._descend(self._shuffle(self._first_look(stop)))
            under_way = self.failed_step is None and self.end is None
            if under_way and self._epoch_ends.matter and self._batches.ends_epoch(self.n_steps):
                self._end_epoch()

    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""
        if self._epoch_ends.best is not None:
            self._take(self._epoch_ends.best)

    def loss_at(self, weights: Weights) -> float:
        """The loss over all rows at these weights, which are the fit's from then on."""
        self._take(weights)
        return self.final_loss()

    def _take(self, weights: Weights) -> None:
        parameters = self._setting.parameters
        parameters[:] = flat((weights[name] for name in self._shapes), parameters.dtype)

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        return named(self._setting.parameters.copy(), self._shapes)

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, before clipping, by the weights' names."""
        return named(self._setting.gradient.copy(), self._shapes)

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from here."""
        return self.trace.snapshot(
            self.n_steps,
            made_by=self._made_by,
            weights=self.weights(),
            optimizer=self._setting.buffers.state(self._shapes),
            schedule=self._rates.state(self.n_steps),
        )

    def kept(self) -> Arrays | None:
        """Copies of all that `advance` changes, but for the trace; None within an epoch's end."""
        if self._epoch_ends.owes_a_look:
            return None
        setting = self._setting
        numbers = {"parameters": setting.parameters.copy()}
        counts = {"n_updates": setting.state.n_updates, "is_moving": setting.state.is_moving}
        return joined(
            {
                "numbers": numbers | {name: count.copy() for name, count in counts.items()},
                "buffers": copied_fields(setting.state.buffers),
                "epoch_ends": self._epoch_ends.kept(),
            }
        )

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this."""
        numbers, state = part(kept, "numbers"), self._setting.state
        self._setting.parameters[:] = numbers["parameters"]
        state.n_updates[:], state.is_moving[:] = numbers["n_updates"], numbers["is_moving"]
        put_fields(state.buffers, part(kept, "buffers"))
        self._epoch_ends.take_up(part(kept, "epoch_ends"))
        self.n_steps = n_steps

    def final_loss(self) -> float:
        """The loss over the whole training set."""
        rows = self._setting.rows
        rows.window[:] = 0
        n_rows, most_rows = self._batches.n_rows, self._most_rows
        span = kernels.Span(0, 0, 0, n_rows, 1, most_rows, *self._ahead(0, 1))
        try:
            while (outcome := self._run(rows, span)).end == kernels.PAUSED:
                self._look()
        finally:
            rows.window[:] = 0
        return outcome.last_loss

    def _run(self, rows: Rows, span: kernels.Span) -> kernels.Outcome:
        setting = self._setting
        return kernels.descend(rows, setting.problem, setting.state, self._record, span)

    def _look(self) -> None:
        """Within a batch: where the fit is to end, it is as if that had not begun."""
        try:
            look()
        except Interrupted:
            self._setting.state.under_way[:] = 0.0
            raise

    def _epoch_stop(self) -> int:
        """The step that begins the next epoch."""
        batches = self._batches
        return (batches.shuffle_of(self.n_steps) + 1) * batches.per_epoch - batches.position

    def _first_look(self, stop: int) -> int:
        """The step, `stop` at most, before which nothing is looked at."""
        return min(stop, self._epoch_stop()) if self._epoch_ends.matter else stop

    def _shuffle(self, stop: int) -> int:
        """Order the rows for the next step; the step, `stop` at most, up to which that holds."""
        if not self._batches.shuffled:
            return stop
        epoch = self._batches.shuffle_of(self.n_steps)
        if self._shuffled != epoch:
            # Two threads would wait for one another longer than a few rows take.
            with torch_threads(self.n_threads):
                order = shuffle_rows(self._batches.n_rows, self._shuffle_seed, epoch)
            self._rows = self._rows._replace(order=order.numpy(), in_order=False)
            self._rows.window[:] = 0
            self._shuffled = epoch
        return min(stop, self._epoch_stop())

    def _end_epoch(self) -> None:
        """Look at the held-out rows, and see whether the fit still gets better."""
        self._epoch_ends.look(self.trace, self._batches.epoch_of(self.n_steps - 1), self.weights)
        if self._epoch_ends.is_over:
            self.end = "early_stopped"

    def _descend(self, stop: int) -> None:
        end = kernels.PAUSED
        while end == kernels.PAUSED:
            end = self._descend_on(stop)
            if end == kernels.PAUSED:
                self._look()
        if end == kernels.FAILED:
            self.failed_step = self.n_steps
        if end == kernels.AT_REST:
            self.end = "converged"

    def _descend_on(self, stop: int) -> int:
        """Make updates up to `stop`, or a pause; why they ended."""
        batches = self._batches
        lr, momentum = self._ahead(self.n_steps, stop)
        span = kernels.Span(
            self.n_steps, stop, batches.position % batches.per_epoch, batches.size,
            batches.per_epoch, self._most_rows, lr, momentum,
        )  # fmt: skip
        outcome = self._run(self._rows, span)
        if outcome.n_losses > self.trace.n_losses:
            self.trace.last_loss = outcome.last_loss
            self.trace.last_lr = float(
                lr[outcome.n_losses - self.n_steps - 1 if len(lr) > 1 else 0]
            )
        self.n_steps, self.trace.n_losses = outcome.n_steps, outcome.n_losses
        return outcome.end

    def _ahead(self, first: int, stop: int) -> tuple[Floats, Floats]:
        """The rates and the momenta of the steps [first, stop): one each, or one for all."""
        if not self._is_scheduled:
            stop = first + 1
        # Copies: arrays that must not be written to are of another type to numba.
        return np.array(self._rates.lr[first:stop]), np.array(self._rates.momentum[first:stop])


def _rows_at_once(setting: Setting) -> int:
    """How many rows of a batch may be evaluated between two looks: whole tiles."""
    step = setting.problem.plan.step
    return max(1, _PAUSE_WORK // (len(setting.parameters) * step)) * step


def _step_work(batches: Batches, setting: Setting) -> int:
    """What a step costs, shuffling included, in multiplications."""
    work = batches.size * len(setting.parameters) + _STEP_OVERHEAD_WORK
    if not batches.shuffled:
        return work
    shuffle_work = _SHUFFLE_OVERHEAD_WORK + _SHUFFLE_ROW_WORK * batches.n_rows
    return work + shuffle_work // batches.per_epoch
