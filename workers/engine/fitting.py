"""The loop around every fit: start, advance by chunks, end."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from workers.engine.batches import Batches, cut_batches
from workers.engine.data import Data, RowSource, Shape
from workers.engine.descent import Descent
from workers.engine.errors import SpecificationError
from workers.engine.initialization import GivenInit
from workers.engine.kernel_descent import KernelDescent
from workers.engine.planner import choose_loop, choose_strategy
from workers.engine.prepared import PreparedDescent
from workers.engine.reference import ReferenceDescent
from workers.engine.results import Progress, Result, Status
from workers.engine.rows import MemoryRows, Rows
from workers.engine.snapshot import Start
from workers.engine.specification import Specification
from workers.engine.splitting import Split, split_rows
from workers.engine.standardize import Scaling, scaled
from workers.engine.streaming import StreamedRows
from workers.engine.trajectory import TrajectoryWriter

Clock = Callable[[], float]
OnProgress = Callable[[Progress], None]
Strategy = Callable[[Specification, Split, Batches, Start], Descent]


def _spectral(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    def loop() -> tuple[str, Descent]:
        train = split.train
        name = choose_loop(spec, train.shape, in_memory=isinstance(train, Data))
        return name, STRATEGIES[name](spec, split, batches, start)

    return PreparedDescent(spec, split, batches, start, loop)


def _kernels(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    return KernelDescent(spec, _all_rows(split.train), batches, start)


def _reference(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    train = MemoryRows(_all_rows(split.train), batches, spec.seeds.shuffle, spec.dtype)
    return _plain(spec, split, train, batches, start)


def _streaming(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    train = StreamedRows(split.train, batches, spec.seeds.shuffle, spec.dtype)
    return _plain(spec, split, train, batches, start)


def _plain(
    spec: Specification, split: Split, train: Rows, batches: Batches, start: Start
) -> Descent:
    shape = split.train.shape
    held_out = None if split.validation is None else _held_out(spec, split.validation, batches)
    return ReferenceDescent(spec, shape, train, batches, start, held_out=held_out)


def _held_out(spec: Specification, source: RowSource, batches: Batches) -> Rows:
    """They may be in memory where the training rows are not, and the other way round."""
    if isinstance(source, Data):
        return MemoryRows(source, batches, spec.seeds.shuffle, spec.dtype)
    return StreamedRows(source, batches, spec.seeds.shuffle, spec.dtype)


def _all_rows(source: RowSource) -> Data:
    return source.read(0, source.shape.n_rows)


STRATEGIES: Mapping[str, Strategy] = {
    "spectral": _spectral,
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
    held_out: Data | RowSource | None = None,
    start: Start | None = None,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = time.monotonic,
) -> Result:
    """Descend the loss from the initial weights, and give the weights and the history.

    `data` are `Data`, or a source of more rows than memory holds, which is streamed; ValueError
    says that data in memory have weights, all of them 0. `held_out` rows and another fit's
    weights as the `start` are given where the specification says so, and nowhere else.
    `on_progress` is called at most four times a second; `should_stop` every few milliseconds, and
    true ends the fit as "interrupted". `clock` counts seconds. Stopping and divergence are a
    status of the result; SpecificationError says that the fit cannot begin.
    """
    began = clock()
    check(spec, data.shape)
    _check_weight(data)
    begin = _start(spec, data.shape, start)
    split = split_rows(data, spec.validation, spec.seeds.split, held_out)
    scaling = Scaling.of(split.train) if spec.standardize else None
    strategy, descent = _begin(spec, split if scaling is None else scaled(split, scaling), begin)
    batches = descent.trace.batches
    trajectory = TrajectoryWriter(spec.record)
    reporter = _Reporter(on_progress, batches, clock)
    deadline = began + spec.limits.max_seconds
    status = _descend(descent, trajectory, deadline, should_stop, reporter)
    snapshot = descent.snapshot()
    if status != "interrupted":
        descent.settle()
    # Over a large table that is a long pass, and nobody reads it of a fit that goes on elsewhere.
    final_loss = math.nan if status == "interrupted" else descent.final_loss()
    fallback = None
    if isinstance(descent, PreparedDescent):
        strategy, fallback = descent.strategy, descent.fallback
    return Result(
        status=status,
        weights=descent.weights(),
        initial_weights=begin.weights,
        history=descent.trace.history(),
        n_steps=descent.n_steps,
        total_steps=batches.total_steps,
        failed_step=descent.failed_step,
        final_loss=final_loss if math.isfinite(final_loss) else None,
        strategy=strategy,
        n_threads=descent.n_threads,
        compute_seconds=clock() - began,
        split=split,
        snapshot=snapshot,
        scaling=scaling,
        trajectory=trajectory.result(descent),
        fallback=fallback,
    )


def _check_weight(data: Data | RowSource) -> None:
    if isinstance(data, Data) and data.weight is not None and not data.weight.any():
        raise ValueError("the weights are all 0: no row counts")


def _start(spec: Specification, shape: Shape, given: Start | None) -> Start:
    """The weights that the specification says or another fit gives, in the fit's dtype."""
    if given is None:
        return Start(spec.init.weights(spec.model, shape, spec.dtype, spec.seeds.init))
    carried = GivenInit({name: w.astype(np.float64) for name, w in given.weights.items()})
    carried.check(spec.model, shape, spec.dtype)
    if given.snapshot is not None and given.snapshot.made_by != spec.optimizer.made_by:
        detail = "the other fit's optimizer had other arguments: only its lr may change"
        raise SpecificationError("/init/optimizer_state", detail)
    weights = carried.weights(spec.model, shape, spec.dtype, spec.seeds.init)
    return Start(weights, given.snapshot)


def _begin(spec: Specification, split: Split, start: Start) -> tuple[str, Descent]:
    train = split.train
    snapshot = start.snapshot
    strategy = choose_strategy(
        spec,
        train.shape,
        in_memory=isinstance(train, Data),
        resumes=snapshot is not None and snapshot.spectral is not None,
    )
    batches = cut_batches(spec, train.shape.n_rows, snapshot)
    return strategy, STRATEGIES[strategy](spec, split, batches, start)


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
        if self._on_progress is None or now < self._next or not descent.n_steps:
            return
        self._next = now + _PROGRESS_SECONDS
        self._on_progress(
            Progress(
                step=descent.n_steps,
                total_steps=self._batches.total_steps,
                epoch=self._batches.epoch_of(descent.n_steps - 1),
                loss=descent.trace.last_loss,
                lr=descent.trace.last_lr,
            )
        )


def _descend(
    descent: Descent,
    trajectory: TrajectoryWriter,
    deadline: float,
    should_stop: Callable[[], bool] | None,
    reporter: _Reporter,
) -> Status:
    total_steps = descent.trace.batches.total_steps
    advance = partial(trajectory.advance, descent) if trajectory.writes else descent.advance
    while descent.n_steps < total_steps:
        if should_stop is not None and should_stop():
            return "interrupted"
        if reporter.clock() >= deadline:
            return "time_limit"
        advance(min(descent.chunk_steps, total_steps - descent.n_steps))
        if descent.failed_step is not None:
            return "diverged"
        if descent.end is not None:
            return descent.end
        reporter.report(descent)
    return "completed"
