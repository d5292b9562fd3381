"""A fit under way in the compiled loops."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine import kernels
from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import DType, Weights, largest, numpy_dtype
from workers.engine.kernel_buffers import OptimizerBuffers, flat, named, rule_of
from workers.engine.kernel_layout import Layout, cut_tiles, lay_out, widths_of
from workers.engine.kernel_losses import Room
from workers.engine.kernel_objectives import loss_of
from workers.engine.kernel_products import Numbers
from workers.engine.kernel_rates import Rates
from workers.engine.kernel_rows import Rows, lay_all
from workers.engine.models import Linear
from workers.engine.results import Status
from workers.engine.shuffling import shuffle_rows
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.threads import torch_threads
from workers.engine.trace import Trace

_CHUNK_WORK = 2**24
_STEP_OVERHEAD_WORK = 2**6
_SHUFFLE_OVERHEAD_WORK = 2**15
_SHUFFLE_ROW_WORK = 2**3


class KernelDescent:
    """A fit under way in the compiled loops. See `workers.engine.descent.Descent`."""

    n_threads = 1

    def __init__(self, spec: Specification, data: Data, batches: Batches, start: Start) -> None:
        snapshot = start.snapshot
        exact = start.weights if snapshot is None else snapshot.weights
        self._shapes = {name: array.shape for name, array in start.weights.items()}
        self._kind = numpy_dtype(spec.dtype)
        self._batches = batches
        self._shuffle_seed = spec.seeds.shuffle
        self._shuffled: int | None = None
        widths = widths_of(self._shapes)
        tiles = cut_tiles(widths, batches.size, batches.n_rows, spec.dtype)
        layout = lay_out(self._shapes, tiles, data.shape.n_targets, _codes(spec), spec.dtype)
        self._problem = _problem(spec, layout, widths[-1])
        self._rows = _rows(data, layout, spec.dtype)
        self._buffers = OptimizerBuffers(
            spec.optimizer,
            layout.plan.n_parameters,
            spec.dtype,
            scheduled=spec.schedule is not None,
        )
        if snapshot is not None:
            self._buffers.resume(snapshot)
        self._state = kernels.State(
            layout.numbers,
            self._buffers.buffers,
            Room(*(np.empty(tiles.step) for _ in Room._fields)),
            self._buffers.n_updates,
            self._buffers.is_moving,
        )
        self._parameters = self._part(layout.plan.parameters_at)
        self._gradient = self._part(layout.plan.gradient_at)
        self._parameters[:] = flat((exact[name] for name in self._shapes), self._kind)
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr, snapshot)
        self._rates = Rates(spec, self.trace, snapshot)
        self._made_by = spec.optimizer.made_by
        trace = self.trace
        self._record = kernels.Record(
            trace.loss, trace.grad_norm, trace.lr, trace.epoch_sums, spec.record.every
        )
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        self.chunk_steps = max(1, _CHUNK_WORK // _step_work(batches, layout))

    def _part(self, at: int) -> Numbers:
        return self._state.numbers[at : at + self._problem.plan.n_parameters]

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        stop = self.n_steps + n_steps
        while self.n_steps < stop and self.failed_step is None and self.end is None:
            self._descend(self._shuffle(stop))

    def settle(self) -> None:
        """The last weights are the ones to give."""

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        return named(self._parameters.copy(), self._shapes)

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, before clipping, by the weights' names."""
        return named(self._gradient.copy(), self._shapes)

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from here."""
        return Snapshot(
            position=self._batches.position + self.n_steps,
            per_epoch=self._batches.per_epoch,
            epoch_sum=self.trace.unfinished_sum(),
            made_by=self._made_by,
            weights=self.weights(),
            optimizer=self._buffers.state(self._shapes),
            schedule=self._rates.state(),
        )

    def final_loss(self) -> float:
        """The loss over the whole training set."""
        rows = self._rows._replace(order=np.arange(self._batches.n_rows), in_order=True)
        rows.window[:] = 0
        span = kernels.Span(0, 0, 0, self._batches.n_rows, 1, *self._rates.ahead(0, 0))
        loss = kernels.descend(rows, self._problem, self._state, self._record, span).last_loss
        rows.window[:] = 0
        return loss

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
        return min(stop, (epoch + 1) * self._batches.per_epoch - self._batches.position)

    def _descend(self, stop: int) -> None:
        batches = self._batches
        lr, momentum = self._rates.ahead(self.n_steps, stop)
        span = kernels.Span(
            self.n_steps, stop, batches.position % batches.per_epoch, batches.size,
            batches.per_epoch, lr, momentum,
        )  # fmt: skip
        outcome = kernels.descend(self._rows, self._problem, self._state, self._record, span)
        if outcome.n_losses > self.trace.n_losses:
            self.trace.last_loss = outcome.last_loss
            self.trace.last_lr = float(
                lr[outcome.n_losses - self.n_steps - 1 if len(lr) > 1 else 0]
            )
        self.n_steps, self.trace.n_losses = outcome.n_steps, outcome.n_losses
        if outcome.end == kernels.FAILED:
            self.failed_step = self.n_steps
        if outcome.end == kernels.AT_REST:
            self.end = "converged"
        if self.n_steps < stop:
            self._rates.go_back(self.n_steps)


def _codes(spec: Specification) -> tuple[str, str]:
    """The activations of hidden layers, and of the last one."""
    if isinstance(spec.model, Linear):
        return "identity", "identity"
    output = spec.model.output
    return spec.model.activation, "identity" if output in ("auto", "linear") else output


def _problem(spec: Specification, layout: Layout, n_outputs: int) -> kernels.Problem:
    return kernels.Problem(
        plan=layout.plan,
        loss=loss_of(spec.loss, n_outputs),
        rule=rule_of(spec.optimizer),
        l1=float(spec.penalty.l1),
        l2=float(spec.penalty.l2),
        clip=0.0 if spec.clip_grad_norm is None else float(spec.clip_grad_norm),
        tolerance=0.0 if spec.tolerance is None else float(spec.tolerance),
        largest=largest(spec.dtype),
    )


def _step_work(batches: Batches, layout: Layout) -> int:
    """What a step costs, shuffling included, in multiplications."""
    work = batches.size * layout.plan.n_parameters + _STEP_OVERHEAD_WORK
    if not batches.shuffled:
        return work
    shuffle_work = _SHUFFLE_OVERHEAD_WORK + _SHUFFLE_ROW_WORK * batches.n_rows
    return work + shuffle_work // batches.per_epoch


def _rows(data: Data, layout: Layout, dtype: DType) -> Rows:
    """The rows in the fit's precision, laid into tiles where these hold all of them."""
    weight = np.empty(0) if data.weight is None else data.weight
    rows = Rows(
        x=_rounded(data.x, dtype),
        y=_rounded(data.y, dtype),
        weight=_rounded(weight, dtype),
        order=np.arange(data.shape.n_rows),
        in_order=True,
        window=np.zeros(2, np.int64),
        window_rows=layout.tiles.window,
        row_step=layout.tiles.row_step,
        n_features=data.shape.n_features,
        n_targets=data.shape.n_targets,
        columns_at=layout.columns_at,
        rows_at=layout.rows_at,
        targets_at=layout.targets_at,
        weights_at=layout.weights_at,
        resident=layout.tiles.resident,
    )
    layout.numbers[rows.weights_at : rows.weights_at + layout.tiles.n * layout.tiles.step] = 1.0
    if rows.resident:
        lay_all(rows, layout.plan, layout.numbers)
    return rows


def _rounded(array: NDArray[np.float64], dtype: DType) -> NDArray[Any]:
    """The numbers in the precision, flat, in the one layout that is compiled for."""
    kind = numpy_dtype(dtype)
    if array.dtype == kind and array.flags.carray:
        return array.reshape(-1)
    flat = np.empty(array.size, kind)
    with np.errstate(over="ignore"):
        flat.reshape(array.shape)[...] = array
    return flat
