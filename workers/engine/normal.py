"""A full-batch descent of least squares under way on the normal equations of its rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.engine import normal_loops as loops
from workers.engine.data import RowSource, Shape
from workers.engine.dtypes import Weights
from workers.engine.named_parts import Arrays, copied_fields, put_fields
from workers.engine.normal_equations import Layer, pass_threads
from workers.engine.normal_problem import Problem, Record, Span, State
from workers.engine.normal_state import optimizer_state
from workers.engine.plateau import PlateauRates
from workers.engine.rates import Rates
from workers.engine.results import Status
from workers.engine.snapshot import NormalState, Snapshot
from workers.engine.specification import Specification
from workers.engine.spectral import loss_over
from workers.engine.trace import Trace

Floats = NDArray[np.float64]

_CHUNK_WORK = 2**22
_STEP_OVERHEAD_WORK = 2**8
_PARAMETER_WORK = 2**4
_ENDS: dict[int, Status] = {loops.AT_REST: "converged", loops.NO_BETTER: "early_stopped"}


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """A fit before its first step, at a layer; `digest` is that of the rows' spectrum."""

    layer: Layer
    problem: Problem
    state: State
    digest: str


class NormalDescent:
    """A fit under way, a step of which costs as much as the square of its coefficients.

    See `workers.engine.descent.Descent`.
    """

    def __init__(
        self,
        spec: Specification,
        rows: RowSource,
        rates: Rates | PlateauRates,
        trace: Trace,
        beginning: Beginning,
    ) -> None:
        self._spec = spec
        self._rows = rows
        self._rates = rates
        self._problem = beginning.problem
        self._state = beginning.state
        self._digest = beginning.digest
        self._layer = beginning.layer
        self.trace = trace
        self._record = record_of(trace)
        self._settled = False
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        self.n_threads = pass_threads(rows.shape)
        self.chunk_steps = steps_a_chunk(rows.shape)

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        first = self.n_steps
        span = span_of(self._rates, first, first + n_steps)
        outcome = loops.descend(self._problem, self._state, self._record, span)
        self.n_steps, self.trace.n_losses = outcome.n_steps, outcome.n_losses
        if self.trace.n_losses > first:
            self.trace.last_loss, self.trace.last_lr = outcome.last_loss, outcome.last_lr
        self.end = _ENDS.get(outcome.why)
        if outcome.why == loops.FAILED:
            self.failed_step = self.n_steps

    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""
        self._settled = True

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        back = self._settled and self._state.watch[2] > 0
        weights = self._state.best if back else self._state.weights
        return self._layer.at(weights).named(self._spec.dtype)

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, before clipping, by the parameters' names."""
        return self._layer.at(self._state.gradient).named(self._spec.dtype)

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from the last update."""
        state, rates = self._state, self._rates
        if isinstance(rates, PlateauRates):
            rates.place = state.plateau.copy()
        return self.trace.snapshot(
            self.n_steps,
            made_by=self._spec.optimizer.made_by,
            weights=self._layer.at(state.weights).named(),
            optimizer=optimizer_state(self._spec, self._layer, state),
            schedule=rates.state(self.n_steps),
            normal=NormalState(self._digest, self._problem.origin.copy()),
        )

    def kept(self) -> Arrays:
        """Copies of all that `advance` changes, but for the trace."""
        return copied_fields(self._state)

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this."""
        put_fields(self._state, kept)
        self.n_steps = n_steps

    def final_loss(self) -> float:
        """The loss over the whole training set, at the weights as they are given back."""
        return loss_over(self._spec, self._rows, Layer.of(self.weights()))


def span_of(rates: Rates | PlateauRates, first: int, stop: int) -> Span:
    """The steps [first, stop) of a fit at these rates."""
    # Copies: arrays that must not be written to are of another type to numba.
    return Span(first, np.array(rates.lr[first:stop]), np.array(rates.momentum[first:stop]))


def record_of(trace: Trace) -> Record:
    """The trace's arrays."""
    return Record(
        trace.loss, trace.grad_norm, trace.lr, trace.epoch_sums, trace.validation_loss, trace.every
    )


def steps_a_chunk(shape: Shape) -> int:
    """How many steps take some milliseconds."""
    width = shape.n_features + 1
    work = shape.n_targets * width * (width + _PARAMETER_WORK)
    return max(1, _CHUNK_WORK // (work + _STEP_OVERHEAD_WORK))
