"""A fit under way in torch's fastest steps for large models and batches."""

from dataclasses import dataclass

from torch import nn, optim

from workers.engine.asides import wait_for_others
from workers.engine.backpropagation import Backpropagation
from workers.engine.batches import Batches
from workers.engine.data import Data, RowSource, Shape
from workers.engine.epoch_ends import EpochEnds
from workers.engine.interrupting import Interrupted, looking, undisturbed
from workers.engine.models import layer_widths
from workers.engine.named_parts import Arrays
from workers.engine.networks import Mlp
from workers.engine.reference import ReferenceDescent, State
from workers.engine.rows import MemoryRows, Rows
from workers.engine.rule import Rule
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.spill import spilled_row_bytes
from workers.engine.streaming import WINDOW_BYTES, StreamedRows

_CHUNK_WORK = 2**30
_STEP_OVERHEAD_WORK = 2**23
_MOST_MARKED_STEPS = 64
# Of a layer's inputs and outputs, for rows that are computed at once: what a cache has room for.
_MOST_NUMBERS = 2**20
_LEAST_ROWS = 2**9
# A batch of fewer parts is left whole.
_SPLIT_PARTS = 4
# What a cancelled fit may wait for a step that was left alone: it is to end within two seconds.
_LEFT_SECONDS = 0.5


class FusedRule(Rule):
    """The same updates by torch's fused optimizers, and a norm for which nothing is copied."""

    def _build(self, parameters: list[nn.Parameter]) -> optim.Optimizer:
        return self._spec.optimizer.build(parameters, fused=True)

    def take_gradient(self) -> float:
        """The gradient's L2 norm over all parameters; after it the gradient may be clipped."""
        if self._spec.record.gradients:
            return super().take_gradient()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._tolerance is not None:
            largest = nn.utils.get_total_norm(gradients, float("inf"))
            self.is_at_rest = float(largest) < self._tolerance
        norm = nn.utils.get_total_norm(gradients)
        if self._clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip_grad_norm, norm)
        return float(norm)


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """Where a descent was while all its weights were finite."""

    n_steps: int
    snapshot: Snapshot
    epoch_ends: EpochEnds


class LargeDescent(ReferenceDescent):
    """The plain loop with gradients written out and fused updates. See `Descent`.

    It looks at the weights once a chunk, and not after every step: where one is not finite, it goes
    back to the last mark and makes the steps anew with the plain loop's care.
    """

    objective_of = Backpropagation
    rule_of = FusedRule

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
        super().__init__(spec, shape, rows, batches, start, held_out=held_out, look_rows=look_rows)
        self._is_careful = False
        row_work = sum(p.numel() for p in self._parameters)
        step_work = batches.size * row_work + _STEP_OVERHEAD_WORK
        self.chunk_steps = batches.steps_within(_CHUNK_WORK, step_work, look_rows * row_work)
        # All steps since a mark may have to be made anew in one call.
        self._marked_steps = max(1, min(_MOST_MARKED_STEPS, _CHUNK_WORK // step_work))
        if spec.record.weights or spec.record.gradients:
            # What was recorded by earlier calls is not unmade.
            self._marked_steps = 1
        self._mark = self._marked()

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        stop = self.n_steps + n_steps
        try:
            super().advance(n_steps)
        except Interrupted:
            if not self._is_careful and not super()._is_finite():
                self._find_failure(self.n_steps)
            raise
        if self._is_careful:
            return
        if self.failed_step is None and super()._is_finite():
            if self.n_steps - self._mark.n_steps >= self._marked_steps:
                self._mark = self._marked()
            return
        self._make_anew(stop)

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this."""
        super().take_up(kept, n_steps)
        self._mark = self._marked()

    def _marked(self) -> _Mark:
        return _Mark(self.n_steps, self.snapshot(), self._epoch_ends.copied())

    def _find_failure(self, stop: int) -> None:
        """Make the steps anew where a later one was cut; else the fit is where the last mark is.

        The same rows are read again, so that whoever still reads them comes first.
        """
        if wait_for_others(_LEFT_SECONDS):
            self._make_anew(stop)
        else:
            self._go_back()

    def _make_anew(self, stop: int) -> None:
        """The steps since the last mark, with care; they are too few to be interrupted."""
        self._is_careful = True
        self._go_back()
        with looking(undisturbed):
            super().advance(stop - self.n_steps)

    def _go_back(self) -> None:
        mark = self._mark
        self.n_steps, self.failed_step, self.end = mark.n_steps, None, None
        self._epoch_ends = mark.epoch_ends.copied()
        self.trace.rewind(mark.n_steps, mark.snapshot.epoch_sum)
        self._rewind(mark.snapshot)

    def _state(self) -> State:
        """Without care, what an update that is not made to its end may have changed."""
        if self._is_careful:
            return super()._state()
        return {name: kept.clone() for name, kept in self._model.named_buffers()}

    def _is_finite(self) -> bool:
        return super()._is_finite() if self._is_careful else True

    def _fail(self, before: State) -> None:
        if self._is_careful:
            super()._fail(before)
        else:
            self.failed_step = self.n_steps


def large_rows(spec: Specification, source: RowSource, batches: Batches) -> Rows:
    """The rows, as many of them at once as a processor's cache can follow through the layers.

    So are large batches, but where a norm is taken over the batch, or a dropout is drawn for it.
    Rows that are not in memory are read as they are asked for.
    """
    model = spec.model
    most_rows = max(_LEAST_ROWS, _MOST_NUMBERS // sum(layer_widths(model, source.shape)))
    if not isinstance(source, Data):
        window_bytes = min(WINDOW_BYTES, most_rows * spilled_row_bytes(source))
        return StreamedRows(source, batches, spec.seeds.shuffle, spec.dtype, window_bytes)
    drawn = isinstance(model, Mlp) and (model.dropout > 0 or model.batch_norm)
    whole = drawn or batches.size < _SPLIT_PARTS * most_rows
    return MemoryRows(
        source,
        batches,
        spec.seeds.shuffle,
        spec.dtype,
        most_rows=most_rows,
        whole_batches=whole,
    )
