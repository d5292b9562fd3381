"""Whether a descent keeps its digits when its sums are rounded otherwise.

A rule that divides by gradients, or looks at their signs, enlarges what these are rounded by: near
an optimum without bound. Whether it does is seen from two runs of the whole descent, whose
gradients and losses are off to either side by more than another order of their sums would bring.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.engine import normal_loops as loops
from workers.engine.dtypes import DType
from workers.engine.normal import Beginning, record_of, span_of
from workers.engine.normal_problem import Outcome, Problem, Rounding, State
from workers.engine.plateau import PlateauRates
from workers.engine.rates import Rates
from workers.engine.trace import Trace

Floats = NDArray[np.float64]

# The share of the numbers that a gradient is a sum of: some times what a sum of rows is off by in
# float64, and what the rounding of rows to float32 leaves in their sums.
_ROUNDING: dict[DType, float] = {"float64": 2.0**-50, "float32": 2.0**-26}
# How far apart the runs may come, and what share of the first loss that is at least.
_RELATIVE: dict[DType, float] = {"float64": 1e-9, "float32": 1e-4}
_OF_FIRST: dict[DType, float] = {"float64": 1e-12, "float32": 1e-6}
# Loss is compared with loss: where steps are counted by that, it needs more digits than a gradient.
_OF_LOSS = 2.0**4
_GOLDEN = 2_654_435_769


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """How a descent went."""

    outcome: Outcome
    trace: Trace
    state: State


def keeps_its_digits(
    beginning: Beginning,
    rates: Rates | PlateauRates,
    trace: Trace,
    dtype: DType,
    chunk_steps: int,
) -> Generator[None, None, bool]:
    """Whether two runs come to the same end by the same losses; it stops after every chunk.

    The trace is that of the fit to come, which is left as it is.
    """
    runs = []
    for side in (1.0, -1.0):
        off = _rounding(beginning.problem, beginning.state, side * _ROUNDING[dtype])
        problem = beginning.problem._replace(rounding=off)
        runs.append((yield from _run(problem, beginning.state, rates, trace, chunk_steps)))
    one, other = runs
    return _agree(one, other, dtype)


def _rounding(problem: Problem, state: State, share: float) -> Rounding:
    """Off by the share, each parameter to a side of its own."""
    train = problem.train
    n_targets = len(train.offset)
    norm = np.linalg.norm(train.triangle, axis=0)
    start = np.abs(problem.origin.reshape(n_targets, -1)) @ norm
    base = np.linalg.norm(train.offset, axis=1) + np.sqrt(train.rest * n_targets) + start
    places = np.arange(len(state.weights), dtype=np.uint64) * np.uint64(_GOLDEN)
    sides = np.where(places >> np.uint64(16) & np.uint64(1), 1.0, -1.0)
    slope = 2.0 / n_targets * share * sides * np.tile(norm, n_targets)
    return Rounding(slope, base, norm, share * _OF_LOSS)


def _run(
    problem: Problem, state: State, rates: Rates | PlateauRates, of: Trace, chunk_steps: int
) -> Generator[None, None, _Run]:
    batches, trace = of.batches, Trace(of.batches, of.every, of.last_lr)
    record, own = record_of(trace), State(*(array.copy() for array in state))
    outcome = Outcome(0, 0, np.nan, np.nan, loops.DONE)
    while outcome.why == loops.DONE and outcome.n_steps < batches.total_steps:
        if outcome.n_steps:
            yield
        stop = min(outcome.n_steps + chunk_steps, batches.total_steps)
        outcome = loops.descend(problem, own, record, span_of(rates, outcome.n_steps, stop))
    return _Run(outcome, trace, own)


def _agree(one: _Run, other: _Run, dtype: DType) -> bool:
    ends = [(run.outcome.n_steps, run.outcome.n_losses, run.outcome.why) for run in (one, other)]
    if ends[0] != ends[1]:
        return False
    n = one.outcome.n_losses
    floor = _OF_FIRST[dtype] * float(one.trace.epoch_sums[0]) if n else 0.0
    with np.errstate(all="ignore"):
        return all(
            np.allclose(ours, theirs, rtol=_RELATIVE[dtype], atol=floor, equal_nan=True)
            for ours, theirs in zip(_numbers(one, n), _numbers(other, n), strict=True)
        )


def _numbers(run: _Run, n_losses: int) -> tuple[Floats, ...]:
    trace, state = run.trace, run.state
    epochs = (trace.epoch_sums[:n_losses], trace.validation_loss[:n_losses])
    n_kept = -(-n_losses // trace.every)
    last = (state.weights, state.best, state.gradient)
    return (*epochs, trace.grad_norm[:n_kept], trace.lr[:n_kept], *last)
