"""A full-batch descent of least squares under way in closed form."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.engine import small_tables, spectral_loops
from workers.engine.batches import Batches
from workers.engine.data import RowSource, Shape
from workers.engine.dtypes import Weights, largest
from workers.engine.early_stopping import EarlyStopping
from workers.engine.named_parts import Arrays, copied_fields, put_fields
from workers.engine.normal_equations import Layer, finished, pass_threads, sum_squares
from workers.engine.rates import Rates
from workers.engine.results import Status
from workers.engine.snapshot import Snapshot, SpectralState
from workers.engine.specification import Specification
from workers.engine.spectrum import digest
from workers.engine.spectrum_loops import Spectrum
from workers.engine.survey import Found
from workers.engine.threads import one_blas_thread
from workers.engine.trace import Trace

Floats = NDArray[np.float64]

_CHUNK_WORK = 2**20
_STEP_OVERHEAD_WORK = 2**4
_MOVING = "moving"
ENDS: dict[int, Status] = {
    spectral_loops.AT_REST: "converged",
    spectral_loops.NO_BETTER: "early_stopped",
}


class SpectralDescent:
    """A fit under way in the coordinates of its spectrum. See `workers.engine.descent.Descent`."""

    def __init__(
        self,
        spec: Specification,
        rows: RowSource,
        rates: Rates,
        trace: Trace,
        found: Found,
    ) -> None:
        self._spec = spec
        self._rows = rows
        self._layer = found.layer
        self._spectrum = found.spectrum
        self._rates = rates
        self.trace = trace
        trace.lr[:] = rates.lr[:: trace.every]
        self._curve = _curve(found, spec.penalty.l2)
        self._held_out = _held_out(found)
        self._rule = rule_of(spec, len(self._curve.scale))
        self._moving, self._state = _start(found, self._curve, spec.record.gradients)
        self._record = spectral_loops.Record(
            trace.loss, trace.grad_norm, trace.epoch_sums, trace.validation_loss, trace.every
        )
        self._settled = False
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        self.n_threads = pass_threads(rows.shape)
        self.chunk_steps = steps_a_chunk(rows.shape, held_out=found.held_out is not None)

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails or the fit ends."""
        first, stop = self.n_steps, self.n_steps + n_steps
        span = spectral_loops.Span(
            first,
            # Copies: arrays that must not be written to are of another type to numba.
            np.array(self._rates.lr[first:stop]),
            np.array(self._rates.momentum[first:stop]),
        )
        outcome = spectral_loops.descend(
            self._curve, self._held_out, self._rule, self._state, self._record, span, self._moving
        )
        self.n_steps, self.trace.n_losses, last_loss, why, self._moving = outcome
        if self.trace.n_losses > first:
            self.trace.last_loss = last_loss
            self.trace.last_lr = float(self._rates.lr[self.trace.n_losses - 1])
        self.end = ENDS.get(why)
        if why == spectral_loops.FAILED:
            self.failed_step = self.n_steps

    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""
        self._settled = True

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        back = self._settled and self._state.watch[2] > 0
        place = self._state.best if back else self._now(self._state.place)
        return self._layer_at(place).named(self._spec.dtype)

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, before clipping, by the parameters' names."""
        curve = self._curve
        return self._turned(curve.slope * self._state.last_pull).named(self._spec.dtype)

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from the last update."""
        state = self._state
        reached = Reached(
            spectrum=self._spectrum,
            origin=self._curve.origin,
            place=self._now(state.place),
            pull=self._now(state.pull),
            velocity=self._now(state.velocity),
            moving=self._moving,
            n_steps=self.n_steps,
            epoch_sum=self.trace.unfinished_sum(),
        )
        return snapshot_of(self._spec, self._rates, self.trace.batches, self._layer, reached)

    def kept(self) -> Arrays:
        """Copies of all that `advance` changes, but for the trace."""
        return {**copied_fields(self._state), _MOVING: np.array([self._moving])}

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this."""
        self._moving = bool(kept[_MOVING][0])
        put_fields(self._state, {name: kept[name] for name in kept if name != _MOVING})
        self.n_steps = n_steps

    def final_loss(self) -> float:
        """The loss over the whole training set, at the weights as they are given back."""
        return loss_over(self._spec, self._rows, Layer.of(self.weights()))

    def _now(self, halves: Floats) -> Floats:
        """The half of a state's array that the last update led to."""
        size = len(halves) // 2
        return halves[size:] if self.n_steps % 2 else halves[:size]

    def _layer_at(self, place: Floats) -> Layer:
        return self._layer.at(self._curve.origin + spectral_loops.turn(self._curve.axes, place))

    def _turned(self, direction: Floats) -> Layer:
        """From coordinates to weights."""
        return self._layer.at(spectral_loops.turn(self._curve.axes, direction))


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """Where a descent in a spectrum's coordinates came to: arrays (k·p,), target by target.

    `origin` are the weights that the coordinates are around, `n_steps` updates ago; the velocity
    means something where it is `moving`. `epoch_sum` is that of an epoch that has not ended.
    """

    spectrum: Spectrum
    origin: Floats
    place: Floats
    pull: Floats
    velocity: Floats
    moving: bool
    n_steps: int
    epoch_sum: float = 0.0


def snapshot_of(
    spec: Specification, rates: Rates, batches: Batches, layer: Layer, reached: Reached
) -> Snapshot:
    """What another fit needs to go on from there; `layer` is one of the fit's shape."""
    axes = np.ascontiguousarray(reached.spectrum.basis.T)
    weights = layer.at(reached.origin + spectral_loops.turn(axes, reached.place))
    moved: Weights = {}
    if reached.moving:
        moved = layer.at(spectral_loops.turn(axes, reached.velocity)).named()
    return Snapshot(
        position=batches.position + reached.n_steps,
        per_epoch=batches.per_epoch,
        epoch_sum=reached.epoch_sum,
        made_by=spec.optimizer.made_by,
        weights=weights.named(),
        optimizer=[{"momentum_buffer": part} for part in moved.values()],
        schedule=rates.state(reached.n_steps),
        spectral=SpectralState(
            digest=digest(reached.spectrum),
            origin=reached.origin,
            place=reached.place.copy(),
            pull=reached.pull.copy(),
            velocity=reached.velocity.copy(),
        ),
    )


def steps_a_chunk(shape: Shape, *, held_out: bool) -> int:
    """How many steps take some milliseconds."""
    n_coordinates = shape.n_features + 1
    work = shape.n_targets * n_coordinates * (n_coordinates if held_out else 1)
    return max(1, _CHUNK_WORK // (work + _STEP_OVERHEAD_WORK))


def loss_over(spec: Specification, rows: RowSource, layer: Layer) -> float:
    """The loss of a layer by one more pass over all rows; infinite where no dtype's number is."""
    if small_tables.is_small(rows.shape):
        return small_tables.loss_over(spec, rows, layer)
    squares, total = finished(sum_squares(rows, layer, spec.dtype))
    if not squares <= largest(spec.dtype):
        return math.inf
    with np.errstate(over="ignore"):
        penalty = spec.penalty.l2 * float(np.square(layer.weight).sum())
        penalty += spec.penalty.l1 * float(np.abs(layer.weight).sum())
    return squares / (total * rows.shape.n_targets) + penalty


def _curve(found: Found, l2: float) -> spectral_loops.Curve:
    layer = found.layer
    coefficients = np.array(layer.coefficients(), order="C")
    with one_blas_thread():
        return spectral_loops.curve_of(
            found.spectrum, coefficients, found.n_values, float(l2), layer.bias is not None
        )


def _held_out(found: Found) -> spectral_loops.HeldOut:
    factor = found.held_out
    if factor is None:
        return spectral_loops.HeldOut(np.empty((0, 0)), np.empty((0, 0)), 0.0, 0.0)
    with one_blas_thread():
        matrix = factor.matrix @ found.spectrum.basis
    return spectral_loops.HeldOut(
        matrix=np.ascontiguousarray(matrix.T),
        offset=np.ascontiguousarray(factor.offset.T),
        rest=factor.rest,
        n_values=found.n_held_out_values,
    )


def rule_of(spec: Specification, n_coordinates: int) -> spectral_loops.Rule:
    """The optimizer's arguments, and what ends the fit, for so many coordinates of all targets."""
    arguments = spec.optimizer.arguments
    never = EarlyStopping("train_loss", -1, 0.0, restore_best=False)
    stopping = spec.early_stopping or never
    clip = spec.clip_grad_norm
    tolerance = float(spec.tolerance or 0.0)
    return spectral_loops.Rule(
        dampening=float(arguments["dampening"]),
        weight_decay=float(arguments["weight_decay"]),
        nesterov=bool(arguments["nesterov"]),
        clip_grad_norm=math.inf if clip is None else float(clip),
        tolerance=tolerance,
        sure_tolerance=tolerance * math.sqrt(n_coordinates),
        largest=largest(spec.dtype),
        patience=stopping.patience,
        min_delta=float(stopping.min_delta),
        monitors_train=spec.validation is None or stopping.monitor == "train_loss",
        keeps_best=stopping.restore_best,
    )


def _start(
    found: Found, curve: spectral_loops.Curve, keeps_pull: bool
) -> tuple[bool, spectral_loops.State]:
    """Whether there is a velocity before step 0, and all that a step changes."""
    size = len(curve.scale)
    place, pull, velocity = np.zeros((2, size)), np.zeros((2, size)), np.zeros((2, size))
    pull[0] = found.spectrum.pull.ravel()
    if isinstance(found.state, SpectralState):
        place[0], pull[0] = found.state.place, found.state.pull
        velocity[0] = found.state.velocity
    elif found.velocity is not None:
        with one_blas_thread():
            velocity[0] = (found.velocity.coefficients() @ found.spectrum.basis).ravel()
    return found.velocity is not None, spectral_loops.State(
        place=place.ravel(),
        pull=pull.ravel(),
        velocity=velocity.ravel(),
        direction=np.zeros(size),
        last_pull=np.zeros(size),
        best=np.zeros(size),
        watch=np.array([math.inf, 0.0, 0.0]),
        keeps_pull=keeps_pull,
    )
