"""Every fit from its specification to its result."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from workers.engine.asides import aside_if, wait_for_others
from workers.engine.batches import Batches, cut_batches
from workers.engine.checkpoint import Checkpoints
from workers.engine.course import Course
from workers.engine.data import Data, RowSource, Shape, row_bytes
from workers.engine.descent import Descent
from workers.engine.dtypes import Weights
from workers.engine.errors import SpecificationError
from workers.engine.graphs import GraphsDescent
from workers.engine.initialization import GivenInit
from workers.engine.interrupting import Interrupted, look, looking
from workers.engine.kernel_descent import KernelDescent
from workers.engine.large import LargeDescent, large_rows
from workers.engine.outputs import check_outputs
from workers.engine.planner import choose_loop, choose_strategy
from workers.engine.plans import plan_normal, plan_spectral
from workers.engine.prepared import Plan, PreparedDescent
from workers.engine.reference import ReferenceDescent
from workers.engine.reporting import Clock, OnProgress
from workers.engine.results import Result
from workers.engine.rows import MemoryRows, Rows
from workers.engine.snapshot import Start
from workers.engine.specification import Specification
from workers.engine.splitting import Split, split_rows
from workers.engine.standardize import Scaling, scaled
from workers.engine.streaming import StreamedRows
from workers.engine.trajectory import TrajectoryWriter

_MUCH_BYTES = 32 * 1024**2
_LOOK_SECONDS = 0.05

Strategy = Callable[[Specification, Split, Batches, Start], Descent]


def _spectral(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    return _prepared(plan_spectral(spec, split, batches, start), spec, split, batches, start)


def _normal(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    return _prepared(plan_normal(spec, split, batches, start), spec, split, batches, start)


def _prepared(
    plan: Plan, spec: Specification, split: Split, batches: Batches, start: Start
) -> Descent:
    def loop() -> tuple[str, Descent]:
        train = split.train
        name = choose_loop(spec, train.shape, in_memory=isinstance(train, Data))
        return name, STRATEGIES[name](spec, split, batches, start)

    return PreparedDescent(spec, split, batches, plan, loop)


def _kernels(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    held_out = None
    if split.validation is not None:
        held_out = _loss_of_held_out(spec, split.validation, start)
    train, look_rows = _all_rows(split.train), _look_rows(split)
    return KernelDescent(spec, train, batches, start, held_out=held_out, look_rows=look_rows)


def _look_rows(split: Split) -> float:
    """What is looked at when an epoch is over; infinitely many rows where memory holds none."""
    if split.validation is None:
        return 0
    return split.validation.shape.n_rows if isinstance(split.validation, Data) else math.inf


def _loss_of_held_out(
    spec: Specification, source: RowSource, start: Start
) -> Callable[[Weights], float]:
    """Of any weights; the rows may be more than memory holds where the training rows are not."""
    idle = replace(spec, epochs=None, steps=1, drop_last=False, schedule=None, early_stopping=None)
    batches = cut_batches(idle, source.shape.n_rows)
    if isinstance(source, Data):
        return KernelDescent(idle, source, batches, Start(start.weights)).loss_at
    return lambda weights: _streaming(idle, Split(source), batches, Start(weights)).final_loss()


def _reference(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    train = MemoryRows(_all_rows(split.train), batches, spec.seeds.shuffle, spec.dtype)
    return _plain(spec, split, train, batches, start)


def _large(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    train = large_rows(spec, _all_rows(split.train), batches)
    held_out = None
    if split.validation is not None:
        held_out = large_rows(spec, split.validation, batches)
    shape, look_rows = split.train.shape, _look_rows(split)
    return LargeDescent(spec, shape, train, batches, start, held_out=held_out, look_rows=look_rows)


def _graphs(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    return GraphsDescent(spec, _all_rows(split.train), batches, start)


def _streaming(spec: Specification, split: Split, batches: Batches, start: Start) -> Descent:
    train = StreamedRows(split.train, batches, spec.seeds.shuffle, spec.dtype)
    return _plain(spec, split, train, batches, start)


def _plain(
    spec: Specification, split: Split, train: Rows, batches: Batches, start: Start
) -> Descent:
    shape, look_rows = split.train.shape, _look_rows(split)
    held_out = None if split.validation is None else _held_out(spec, split.validation, batches)
    return ReferenceDescent(
        spec, shape, train, batches, start, held_out=held_out, look_rows=look_rows
    )


def _held_out(spec: Specification, source: RowSource, batches: Batches) -> Rows:
    """They may be in memory where the training rows are not, and the other way round."""
    if isinstance(source, Data):
        return MemoryRows(source, batches, spec.seeds.shuffle, spec.dtype)
    return StreamedRows(source, batches, spec.seeds.shuffle, spec.dtype)


def _all_rows(source: RowSource) -> Data:
    return source.read(0, source.shape.n_rows)


STRATEGIES: Mapping[str, Strategy] = {
    "spectral": _spectral,
    "normal": _normal,
    "kernels": _kernels,
    "graphs": _graphs,
    "large": _large,
    "reference": _reference,
    "streaming": _streaming,
}


def check(spec: Specification, shape: Shape) -> None:
    """Raise SpecificationError where the specification cannot be fitted to data of this shape."""
    batches = cut_batches(spec, shape.n_rows)
    check_outputs(spec.loss, spec.model.n_outputs(shape), shape)
    spec.init.check(spec.model, shape, spec.dtype)
    spec.optimizer.check()
    if spec.schedule is not None:
        n_moves = batches.n_moves(spec.schedule.interval)
        spec.schedule.build(spec.optimizer.for_schedule(), n_moves)
    choose_strategy(spec, shape)


def fit(  # noqa: PLR0913 (what is fitted, and what looks on)
    spec: Specification,
    data: Data | RowSource,
    *,
    held_out: Data | RowSource | None = None,
    start: Start | None = None,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoints: Checkpoints | None = None,
    clock: Clock = time.monotonic,
) -> Result:
    """Descend the loss from the initial weights, and give the weights and the history.

    `data` are `Data`, or a source of more rows than memory holds, which is streamed; ValueError
    says that data in memory have weights, all of them 0. `held_out` rows and another fit's
    weights as the `start` are given where the specification says so, and nowhere else.
    `on_progress` is called at most four times a second; `should_stop` every few milliseconds, and
    true ends the fit as "interrupted". From the last of its `checkpoints` the fit goes on with the
    bits of one that was never away. `clock` counts seconds. Stopping and divergence are a status of
    the result; SpecificationError says that the fit cannot begin, and Interrupted that it was
    stopped while its rows were still prepared for the first step.
    """
    course = Course(spec.limits.max_seconds, on_progress, should_stop, checkpoints, clock)
    check(spec, data.shape)
    check_weight(data)
    begin = _start(spec, data.shape, start)
    with looking(course.look_for_stop):
        prepared = aside_if(is_much(data, held_out), partial(_prepare, spec, data, held_out, begin))
    split, scaling, strategy, descent = prepared
    trajectory = TrajectoryWriter(spec.record)
    status = course.run(descent, trajectory)
    snapshot, weights, final_loss = descent.snapshot(), descent.weights(), math.nan
    # Over a large table that is a long pass, and nobody reads it of a fit that goes on elsewhere.
    if status != "interrupted":
        try:
            with looking(course.look_for_stop):
                # A step that the time limit cut short may still read the rows.
                while not wait_for_others(_LOOK_SECONDS):
                    look()
                descent.settle()
                final_loss = descent.final_loss()
            weights = descent.weights()
        except Interrupted:
            status = "interrupted"
    fallback = squares = None
    if isinstance(descent, PreparedDescent):
        strategy, fallback, squares = descent.strategy, descent.fallback, descent.squares
    return Result(
        status=status,
        weights=weights,
        initial_weights=begin.weights,
        history=descent.trace.history(),
        n_steps=descent.n_steps,
        total_steps=descent.trace.batches.total_steps,
        failed_step=descent.failed_step,
        final_loss=final_loss if math.isfinite(final_loss) else None,
        strategy=strategy,
        n_threads=descent.n_threads,
        compute_seconds=course.seconds(),
        split=split,
        snapshot=snapshot,
        scaling=scaling,
        trajectory=trajectory.result(descent),
        fallback=fallback,
        squares=squares,
    )


def is_much(*sources: RowSource | None) -> bool:
    """Whether it takes long to look at all of the rows."""
    return any(
        one.shape.n_rows * row_bytes(one) > _MUCH_BYTES for one in sources if one is not None
    )


def _prepare(
    spec: Specification, data: RowSource, held_out: RowSource | None, start: Start
) -> tuple[Split, Scaling | None, str, Descent]:
    """What there is before the first step."""
    split = split_rows(data, spec.validation, spec.seeds.split, held_out)
    scaling = Scaling.of(split.train) if spec.standardize else None
    own = split if scaling is None else scaled(split, scaling)
    return split, scaling, *_begin(spec, own, start)


def check_weight(data: Data | RowSource) -> None:
    """Raise ValueError where the rows in memory have weights, and all of them are 0."""
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
    strategy = choose_strategy(
        spec, train.shape, in_memory=isinstance(train, Data), resumes=_resumes(start)
    )
    batches = cut_batches(spec, train.shape.n_rows, start.snapshot)
    return strategy, STRATEGIES[strategy](spec, split, batches, start)


def _resumes(start: Start) -> str | None:
    """The strategy whose own state the start has, if any."""
    snapshot = start.snapshot
    if snapshot is None:
        return None
    states = {"spectral": snapshot.spectral, "normal": snapshot.normal}
    return next((name for name, state in states.items() if state is not None), None)
