"""The loop around every fit: start, advance by chunks, end."""

import math
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from workers.engine.batches import Batches, cut_batches
from workers.engine.data import Data, RowSource, Shape
from workers.engine.descent import Descent
from workers.engine.kernel_descent import KernelDescent
from workers.engine.planner import choose_strategy
from workers.engine.reference import ReferenceDescent
from workers.engine.results import Progress, Result, Status, Weights
from workers.engine.rows import MemoryRows, Rows
from workers.engine.specification import Specification
from workers.engine.splitting import Split, split_rows
from workers.engine.standardize import Scaling, scaled
from workers.engine.streaming import StreamedRows

Clock = Callable[[], float]
OnProgress = Callable[[Progress], None]
Strategy = Callable[[Specification, Split, Batches, Weights], Descent]


def _kernels(spec: Specification, split: Split, batches: Batches, initial: Weights) -> Descent:
    return KernelDescent(spec, _all_rows(split.train), batches, initial)


def _reference(spec: Specification, split: Split, batches: Batches, initial: Weights) -> Descent:
    def rows(source: RowSource) -> Rows:
        return MemoryRows(_all_rows(source), batches, spec.seeds.shuffle, spec.dtype)

    return _plain(spec, split, batches, initial, rows)


def _streaming(spec: Specification, split: Split, batches: Batches, initial: Weights) -> Descent:
    def rows(source: RowSource) -> Rows:
        return StreamedRows(source, batches, spec.seeds.shuffle, spec.dtype)

    return _plain(spec, split, batches, initial, rows)


def _plain(
    spec: Specification,
    split: Split,
    batches: Batches,
    initial: Weights,
    rows: Callable[[RowSource], Rows],
) -> Descent:
    held_out = None if split.validation is None else rows(split.validation)
    shape = split.train.shape
    return ReferenceDescent(spec, shape, rows(split.train), batches, initial, held_out=held_out)


def _all_rows(source: RowSource) -> Data:
    return source.read(0, source.shape.n_rows)


STRATEGIES: Mapping[str, Strategy] = {
    "kernels": _kernels,
    "reference": _reference,
    "streaming": _streaming,
}

_PROGRESS_SECONDS = 0.25


def check(spec: Specification, shape: Shape) -> None:
    """Raise SpecificationError where the specification cannot be fitted to data of this shape."""
    batches = cut_batches(spec, shape.n_rows)
    spec.init.check(spec.model, shape, spec.dtype)
    _check_rule(spec, batches)
    choose_strategy(spec, shape)


def _check_rule(spec: Specification, batches: Batches) -> None:
    optimizer = spec.optimizer.build([nn.Parameter(torch.zeros(1))])
    if spec.schedule is not None:
        spec.schedule.build(optimizer, batches.n_moves(spec.schedule.interval))


def fit(
    spec: Specification,
    data: Data | RowSource,
    *,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = time.monotonic,
) -> Result:
    """Descend the loss from the initial weights, and give the weights and the history.

    `data` are `Data`, or a source of more rows than memory holds, which is streamed; ValueError
    says that data in memory have weights, all of them 0.
    `on_progress` is called at most four times a second; `should_stop` every few milliseconds, and
    true ends the fit as "interrupted". `clock` counts seconds. Stopping and divergence are a
    status of the result; SpecificationError says that the fit cannot begin.
    """
    began = clock()
    check(spec, data.shape)
    _check_weight(data)
    split = split_rows(data, spec.validation, spec.seeds.split)
    scaling = Scaling.of(split.train) if spec.standardize else None
    initial = spec.init.weights(spec.model, data.shape, spec.dtype, spec.seeds.init)
    strategy, descent = _begin(spec, split if scaling is None else scaled(split, scaling), initial)
    batches = descent.trace.batches
    reporter = _Reporter(on_progress, batches, clock)
    deadline = began + spec.limits.max_seconds
    status = _descend(descent, batches.total_steps, deadline, should_stop, reporter)
    if status != "interrupted":
        descent.settle()
    # Over a large table that is a long pass, and nobody reads it of a fit that goes on elsewhere.
    final_loss = math.nan if status == "interrupted" else descent.final_loss()
    return Result(
        status=status,
        weights=descent.weights(),
        initial_weights=initial,
        history=descent.trace.history(),
        n_steps=descent.n_steps,
        total_steps=batches.total_steps,
        failed_step=descent.failed_step,
        final_loss=final_loss if math.isfinite(final_loss) else None,
        strategy=strategy,
        n_threads=descent.n_threads,
        compute_seconds=clock() - began,
        split=split,
        scaling=scaling,
    )


def _check_weight(data: Data | RowSource) -> None:
    if isinstance(data, Data) and data.weight is not None and not data.weight.any():
        raise ValueError("the weights are all 0: no row counts")


def _begin(spec: Specification, split: Split, initial: Weights) -> tuple[str, Descent]:
    train = split.train
    strategy = choose_strategy(spec, train.shape, in_memory=isinstance(train, Data))
    batches = cut_batches(spec, train.shape.n_rows)
    return strategy, STRATEGIES[strategy](spec, split, batches, initial)


class _Reporter:
    """Passes on a fit's progress, but not too often."""

    def __init__(self, on_progress: OnProgress | None, batches: Batches, clock: Clock) -> None:
        self.clock = clock
        self._on_progress = on_progress
        self._batches = batches
        self._next = clock() + _PROGRESS_SECONDS

    def report(self, descent: Descent) -> None:
        """Call `on_progress` if the last call is long enough ago."""
        now = self.clock()
        if self._on_progress is None or now < self._next:
            return
        self._next = now + _PROGRESS_SECONDS
        self._on_progress(
            Progress(
                step=descent.n_steps,
                total_steps=self._batches.total_steps,
                epoch=(descent.n_steps - 1) // self._batches.per_epoch,
                loss=descent.trace.last_loss,
                lr=descent.trace.last_lr,
            )
        )


def _descend(
    descent: Descent,
    total_steps: int,
    deadline: float,
    should_stop: Callable[[], bool] | None,
    reporter: _Reporter,
) -> Status:
    while descent.n_steps < total_steps:
        if should_stop is not None and should_stop():
            return "interrupted"
        if reporter.clock() >= deadline:
            return "time_limit"
        descent.advance(min(descent.chunk_steps, total_steps - descent.n_steps))
        if descent.failed_step is not None:
            return "diverged"
        if descent.end is not None:
            return descent.end
        reporter.report(descent)
    return "completed"
