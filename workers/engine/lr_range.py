"""The learning-rate range test: a short fit whose rate grows with every step.

L. N. Smith, Cyclical Learning Rates for Training Neural Networks (2017); run as the package
torch-lr-finder 0.2.2 runs it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch.optim import Optimizer as TorchOptimizer
from torch.optim import lr_scheduler

from workers.engine.asides import aside_if
from workers.engine.batches import cut_batches
from workers.engine.checkpoint import Checkpoints
from workers.engine.course import Course
from workers.engine.data import Data, RowSource
from workers.engine.descent import Descent
from workers.engine.dtypes import largest
from workers.engine.errors import SpecificationError
from workers.engine.fitting import STRATEGIES, check, is_much
from workers.engine.interrupting import Cut, looking
from workers.engine.lr_curve import Curve
from workers.engine.lr_suggestions import fewest_points, steepest, valley
from workers.engine.planner import choose_strategy
from workers.engine.reporting import Clock, OnProgress, Reporter
from workers.engine.schedules import Schedule
from workers.engine.snapshot import Start
from workers.engine.specification import Record, Specification
from workers.engine.splitting import GivenValidation, Split, split_rows
from workers.engine.standardize import Scaling, scaled
from workers.engine.trajectory import TrajectoryWriter

Floats = NDArray[np.float64]
_EVERY_STEP = Record(every=1, weights=False, gradients=False)
StepMode = Literal["exp", "linear"]
StopReason = Literal["completed", "diverged", "interrupted", "time_limit"]


@dataclass(frozen=True, slots=True)
class LrRange:
    """The rates to try, how to smooth their losses, and when to stop.

    `smooth_f` is the share of the newest loss in a smoothed one, 0 to smooth nothing; the test
    ends where a smoothed loss is more than `diverge_th` times the least one. Raises
    SpecificationError for rates that do not rise from above 0, and for numbers out of range.
    """

    start_lr: float = 1e-7
    end_lr: float = 10.0
    num_iter: int = 100
    step_mode: StepMode = "exp"
    smooth_f: float = 0.05
    diverge_th: float = 5.0

    def __post_init__(self) -> None:
        for pointer, holds, detail in (
            ("/num_iter", self.num_iter > 1, "must be 2 or more: a range has two ends"),
            ("/start_lr", 0 < self.start_lr < np.inf, "must be finite and above 0"),
            ("/end_lr", self.start_lr < self.end_lr < np.inf, "must be finite, above start_lr"),
            ("/step_mode", self.step_mode in ("exp", "linear"), "must be 'exp' or 'linear'"),
            ("/smooth_f", 0 <= self.smooth_f < 1, "must be 0 or more, and below 1"),
            ("/diverge_th", 1 < self.diverge_th < np.inf, "must be finite and above 1"),
        ):
            if not holds:
                raise SpecificationError(pointer, detail)

    def lr_at(self, iteration: int) -> float:
        """The rate of this iteration's update; past the last one, the last one's."""
        share = min(iteration, self.num_iter - 1) / (self.num_iter - 1)
        if self.step_mode == "linear":
            return self.start_lr + share * (self.end_lr - self.start_lr)
        return float(self.start_lr * (self.end_lr / self.start_lr) ** share)


@dataclass(frozen=True, slots=True, eq=False)
class LrRangeResult:
    """The curve of a range test, and the rates that it suggests.

    `lr`, `loss` and `raw_loss` (m,) float64 have a point an iteration, none of them nan or
    infinite. As in torch-lr-finder's history, a point pairs the loss on an iteration's batch
    before its update, `raw_loss`, with the rate of that update; `loss` is the smoothed one.

    `steepest` and `valley` are the rules of `workers.engine.lr_suggestions`. Both are None where
    the curve has too few points for either, or was not finished, and then the `reason` says so.
    "diverged" is a smoothed loss past the threshold, or a loss or weight that is not finite.
    `epoch` is the last point's, counted from 0.
    """

    lr: Floats
    loss: Floats
    raw_loss: Floats
    steepest: float | None
    valley: float | None
    reason: str | None
    stop_reason: StopReason
    epoch: int
    strategy: str
    n_threads: int
    compute_seconds: float

    @property
    def is_cut(self) -> bool:
        """Whether the test did not come to an end of its own."""
        return _is_cut(self.stop_reason)


def lr_range_test(
    spec: Specification,
    rule: LrRange,
    data: Data | RowSource,
    *,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoints: Checkpoints | None = None,
    clock: Clock = time.monotonic,
) -> LrRangeResult:
    """Try the rule's rates, one an update, from the initial weights that a fit would have.

    The batches, the split and the standardization are a fit's too, and only the training rows are
    looked at. The specification's own rate, epochs, steps, schedule, tolerance, early stopping and
    record play no part. Every rule of an update reads the rate anew, but "rprop", which takes
    its first step sizes from the first one. As in torch-lr-finder, a loss below 0 ends the test at
    once: it is above several times itself.

    `on_progress` is called at most four times a second; true from `should_stop`, called before
    every iteration, ends the test as "interrupted". From the last of its `checkpoints` it goes on
    with the bits of one that was never away. `clock` counts seconds. Raises
    SpecificationError where a fit would, and for rates that the dtype has no room for;
    ValueError where the rows' weights are all 0, or the initial weights are another fit's;
    Interrupted where it is stopped while the rows are still prepared for the first update.
    """
    course = Course(spec.limits.max_seconds, on_progress, should_stop, checkpoints, clock)
    ranged = _ranged(spec, rule)
    check(ranged, data.shape)
    if isinstance(data, Data) and data.weight is not None and not data.weight.any():
        raise ValueError("the weights are all 0: no row counts")
    with looking(course.look_for_stop):
        strategy, descent = aside_if(is_much(data), partial(_begin, ranged, data))
    curve = Curve(rule.smooth_f, rule.diverge_th)
    reporter = Reporter(on_progress, descent.trace.batches, clock)
    stop_reason = _run(descent, curve, course, reporter)
    reason = _silence(curve, rule, stop_reason)
    lr, loss = np.array(curve.lr), np.array(curve.loss)
    return LrRangeResult(
        lr=lr,
        loss=loss,
        raw_loss=np.array(curve.raw_loss),
        steepest=steepest(lr, loss) if reason is None else None,
        valley=valley(lr, loss, rule.num_iter) if reason is None else None,
        reason=reason,
        stop_reason=stop_reason,
        epoch=descent.trace.batches.epoch_of(max(0, len(lr) - 1)),
        strategy=strategy,
        n_threads=descent.n_threads,
        compute_seconds=course.seconds(),
    )


@dataclass(frozen=True, slots=True)
class _Ramp(Schedule):
    """The rule's rates as a schedule that moves with every step."""

    rule: LrRange

    def __post_init__(self) -> None:
        """Nothing to refuse: it is none of the contract's kinds."""

    def build(self, optimizer: TorchOptimizer, n_moves: int) -> lr_scheduler.LRScheduler:
        """The torch schedule that multiplies the optimizer's own rate, which must be 1."""
        return lr_scheduler.LambdaLR(optimizer, self.rule.lr_at)


def _ranged(spec: Specification, rule: LrRange) -> Specification:
    """The short fit that the test makes."""
    # torch multiplies a rate by factors of its own, and raises where no number holds the product.
    most = largest(spec.dtype) ** 0.5
    for pointer, lr in (("/start_lr", rule.start_lr), ("/end_lr", rule.end_lr)):
        if not 1 / most <= lr <= most:
            detail = f"{spec.dtype} has room for rates from {1 / most:.1e} to {most:.1e}"
            raise SpecificationError(pointer, detail)
    held_out = spec.validation
    return replace(
        spec,
        optimizer=replace(spec.optimizer, arguments={**spec.optimizer.arguments, "lr": 1.0}),
        schedule=_Ramp("lr_range", "step", {}, rule),
        epochs=None,
        steps=rule.num_iter,
        tolerance=None,
        early_stopping=None,
        record=_EVERY_STEP,
        validation=None if isinstance(held_out, GivenValidation) else held_out,
        strategy="auto" if spec.strategy in ("kernels", "spectral", "normal") else spec.strategy,
    )


def _begin(spec: Specification, data: Data | RowSource) -> tuple[str, Descent]:
    """The plain loop before its first step; rows that were held out are left behind."""
    train = Split(split_rows(data, spec.validation, spec.seeds.split).train)
    if spec.standardize:
        train = scaled(train, Scaling.of(train.train))
    shape = train.train.shape
    start = Start(spec.init.weights(spec.model, shape, spec.dtype, spec.seeds.init))
    strategy = choose_strategy(spec, shape, in_memory=isinstance(train.train, Data))
    batches = cut_batches(spec, shape.n_rows)
    return strategy, STRATEGIES[strategy](spec, train, batches, start)


def _run(descent: Descent, curve: Curve, course: Course, reporter: Reporter) -> StopReason:
    trace, nothing = descent.trace, TrajectoryWriter(_EVERY_STEP)
    if not course.take_up(descent, nothing):
        return "interrupted"
    before = trace.history()
    for lr, loss in zip(before.lr.tolist(), before.loss.tolist(), strict=True):
        curve.add(lr, loss)
    for iteration in range(descent.n_steps, trace.batches.total_steps):
        cut = course.end_before(descent, nothing)
        if cut is not None:
            return cut
        cut = course.cut_while(descent, nothing, partial(descent.advance, 1))
        # A loss that is not finite is not entered; one before weights that are not finite is.
        if trace.n_losses > iteration:
            curve.add(trace.last_lr, trace.last_loss)
        if descent.failed_step is not None or curve.has_diverged:
            return "diverged"
        if cut is not None:
            return cut
        reporter.report(descent)
        course.keep(descent, nothing)
    return "completed"


def _is_cut(stop_reason: StopReason) -> bool:
    return stop_reason in get_args(Cut)


def _silence(curve: Curve, rule: LrRange, stop_reason: StopReason) -> str | None:
    """Why the curve suggests nothing; None where it does."""
    n_points, needed = len(curve.lr), fewest_points(rule.num_iter)
    if _is_cut(stop_reason):
        return f"the test was interrupted after {n_points} of {rule.num_iter} iterations"
    if n_points >= needed:
        return None
    if stop_reason == "completed":
        ended = f"num_iter is {rule.num_iter}"
    elif curve.has_diverged:
        ended = f"the loss diverged at a learning rate of {curve.lr[-1]:.3g}"
    else:
        ended = "a loss or a weight after it was not finite"
    return f"a suggestion needs {needed} points, and the curve has {n_points}, for {ended}"
