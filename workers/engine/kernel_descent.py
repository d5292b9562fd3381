"""A fit under way in the compiled loops."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine import kernels
from workers.engine.batches import Batches
from workers.engine.data import Data, Shape
from workers.engine.dtypes import DType, Weights, largest, numpy_dtype
from workers.engine.kernels import Floats
from workers.engine.results import Status
from workers.engine.shuffling import shuffle_rows
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.trace import Trace

_CHUNK_WORK = 2**24
_STEP_OVERHEAD_WORK = 2**6
_SHUFFLE_OVERHEAD_WORK = 2**15
_SHUFFLE_ROW_WORK = 2**3
_LINE_ROWS = 8
_MOST_TILE_LINES = 31


class KernelDescent:
    """A fit under way in the compiled loops. See `workers.engine.descent.Descent`."""

    n_threads = 1
    # Fits that may end before their last step are not planned for these loops.
    end: Status | None = None

    def __init__(self, spec: Specification, data: Data, batches: Batches, start: Start) -> None:
        self._dtype = spec.dtype
        self._batches = batches
        self._shuffle_seed = spec.seeds.shuffle
        self._shuffled: int | None = None
        self._shapes = {name: array.shape for name, array in start.weights.items()}
        self._rows = _lay_rows(data, batches, spec.dtype)
        self._state = _start(start, self._rows.tiles_x.shape[2])
        arguments = spec.optimizer.arguments
        self._rule = kernels.Rule(
            lr=float(spec.optimizer.lr),
            momentum=float(arguments["momentum"]),
            dampening=float(arguments["dampening"]),
            weight_decay=float(arguments["weight_decay"]),
            nesterov=arguments["nesterov"],
            largest=largest(spec.dtype),
        )
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr, start.snapshot)
        self._made_by = spec.optimizer.made_by
        self._record = kernels.Record(
            self.trace.loss, self.trace.grad_norm, self.trace.epoch_sums, spec.record.every
        )
        self.n_steps = 0
        self.failed_step: int | None = None
        self.chunk_steps = max(1, _CHUNK_WORK // _step_work(batches, data.shape))

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails."""
        stop = self.n_steps + n_steps
        while self.n_steps < stop and self.failed_step is None:
            self._descend(self._shuffle(stop))

    def settle(self) -> None:
        """The last weights are the ones to give."""

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        return self._named(self._state.parameters.astype(numpy_dtype(self._dtype)))

    def gradients(self) -> Weights:
        """Copies of the last update's gradient, in the fit's dtype, by the weights' names."""
        return self._named(self._state.gradient.astype(numpy_dtype(self._dtype)))

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from here."""
        state = self._state
        moving = self._rule.momentum != 0.0 and (self.n_steps > 0 or state.moving)
        velocity = self._named(state.velocity.copy()).values()
        return Snapshot(
            position=self._batches.position + self.n_steps,
            per_epoch=self._batches.per_epoch,
            epoch_sum=self.trace.unfinished_sum(),
            made_by=self._made_by,
            weights=self._named(state.parameters.copy()),
            optimizer=[{"momentum_buffer": part} for part in velocity] if moving else [],
        )

    def _named(self, parameters: NDArray[Any]) -> Weights:
        ends = np.cumsum([np.prod(shape) for shape in self._shapes.values()])
        parts = np.split(parameters, ends[:-1])
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def final_loss(self) -> float:
        """The loss over the whole training set, at the weights as they are given back."""
        rounded = self._state.parameters.astype(numpy_dtype(self._dtype)).astype(np.float64)
        state = self._state._replace(parameters=rounded, gradient=np.empty_like(rounded))
        rows = self._rows._replace(order=np.arange(self._batches.n_rows))
        squares, total = kernels.sum_all(rows, state)
        n_values = total * self._rows.y.shape[1]
        return squares / n_values if squares <= self._rule.largest else np.inf

    def _shuffle(self, stop: int) -> int:
        """Order the rows for the next step; the step, `stop` at most, up to which that holds."""
        if not self._batches.shuffled:
            return stop
        epoch = self._batches.shuffle_of(self.n_steps)
        if self._shuffled != epoch:
            order = shuffle_rows(self._batches.n_rows, self._shuffle_seed, epoch)
            self._rows = self._rows._replace(order=order.numpy())
            self._shuffled = epoch
        return min(stop, (epoch + 1) * self._batches.per_epoch - self._batches.position)

    def _descend(self, stop: int) -> None:
        batches = self._batches
        position = batches.position % batches.per_epoch
        span = kernels.Span(self.n_steps, stop, position, batches.size, batches.per_epoch)
        outcome = kernels.descend(self._rows, self._state, self._rule, self._record, span)
        self.n_steps, self.trace.n_losses, self.trace.last_loss = outcome
        if self.n_steps < stop:
            self.failed_step = self.n_steps


def _step_work(batches: Batches, shape: Shape) -> int:
    """What a step costs, shuffling included, in multiplications."""
    work = batches.size * shape.n_features * shape.n_targets + _STEP_OVERHEAD_WORK
    if not batches.shuffled:
        return work
    shuffle_work = _SHUFFLE_OVERHEAD_WORK + _SHUFFLE_ROW_WORK * batches.n_rows
    return work + shuffle_work // batches.per_epoch


def _lay_rows(data: Data, batches: Batches, dtype: DType) -> kernels.Rows:
    """The rows in the fit's precision, and their tiles."""
    resident = batches.size == batches.n_rows
    # A tile's column is an odd number of cache lines long: columns a power of two apart would
    # all fall into the same few lines of the cache.
    width = _LINE_ROWS * (min(_MOST_TILE_LINES, -(-batches.size // _LINE_ROWS)) | 1)
    n_tiles = -(-batches.n_rows // width) if resident else 1
    weight = np.empty(0) if data.weight is None else data.weight
    rows = kernels.Rows(
        x=_rounded(data.x, dtype),
        y=_rounded(data.y, dtype),
        weight=_rounded(weight, dtype),
        order=np.arange(batches.n_rows),
        tiles_x=np.empty((n_tiles, data.shape.n_features, width)),
        tiles_y=np.empty((n_tiles, data.shape.n_targets, width)),
        tiles_weight=np.empty((n_tiles if data.weighted else 0, width)),
        resident=resident,
        weighted=data.weighted,
    )
    if resident:
        kernels.fill_tiles(rows)
    return rows


def _rounded(array: NDArray[np.float64], dtype: DType) -> Floats:
    """The numbers rounded to the precision, as float64, in the one layout that is compiled for."""
    with np.errstate(over="ignore"):
        rounded = array.astype(numpy_dtype(dtype), copy=False)
    return np.require(rounded, np.float64, ["C", "W", "A"])


def _start(start: Start, tile_rows: int) -> kernels.State:
    snapshot = start.snapshot
    exact = start.weights if snapshot is None else snapshot.weights
    parameters = _flat([exact[name] for name in start.weights])
    buffers = [] if snapshot is None else [of.get("momentum_buffer") for of in snapshot.optimizer]
    moving = bool(buffers) and all(buffer is not None for buffer in buffers)
    return kernels.State(
        parameters=parameters,
        velocity=_flat(buffers) if moving else np.zeros_like(parameters),
        gradient=np.zeros_like(parameters),
        candidate=np.zeros_like(parameters),
        residual=np.zeros(tile_rows),
        has_bias="bias" in start.weights,
        moving=moving,
    )


def _flat(arrays: Iterable[Any]) -> Floats:
    """One array after the other, as float64."""
    return np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])
