"""Many small fits of least squares that differ in rows, first weights and rates alone."""

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from workers.engine import group_loops, spectral_loops, table_loops
from workers.engine.batches import cut_batches
from workers.engine.data import Data, Shape
from workers.engine.dtypes import Weights, largest, numpy_dtype
from workers.engine.group_loops import Form, Group
from workers.engine.initialization import CarriedInit, GivenInit
from workers.engine.normal_equations import Layer
from workers.engine.optimizers import Optimizer
from workers.engine.planner import choose_strategy
from workers.engine.rates import Rates
from workers.engine.results import History, Result
from workers.engine.small_tables import is_small, line_of
from workers.engine.specification import Specification
from workers.engine.spectral import ENDS, Reached, rule_of, snapshot_of, steps_a_chunk
from workers.engine.spectrum_loops import Spectrum
from workers.engine.splitting import Split
from workers.engine.standardize import ScaledRows, Scaling
from workers.engine.trace import Trace

# What a group never takes: a fit that may run into it is watched while it runs.
_LEAST_LIMIT_SECONDS = 5.0


def fits_together(spec: Specification, shape: Shape) -> bool:
    """Whether the fit is so short, and so plain, that nobody needs to watch it.

    Raises SpecificationError where the planner does.
    """
    records = spec.record.weights or spec.record.gradients
    alone = records or spec.validation is not None or isinstance(spec.init, CarriedInit)
    if alone or spec.limits.max_seconds < _LEAST_LIMIT_SECONDS or not is_small(shape):
        return False
    if choose_strategy(spec, shape) != "spectral":
        return False
    n_steps = cut_batches(spec, shape.n_rows).total_steps
    return 0 < n_steps <= steps_a_chunk(shape, held_out=False)


# What the fits of a group have in common, beside the optimizer but for its rate: numbers and names
# rather than what holds them, which takes longer to compare. Of those that have none of their own
# the class says all, where the group's loss is the one that a closed form covers.
common = attrgetter(
    "loss.__class__", "penalty.l1", "penalty.l2", "clip_grad_norm", "tolerance", "standardize",
    "batch_size", "drop_last", "epochs", "steps", "dtype", "record.every", "record.weights",
    "record.gradients", "limits.max_seconds", "strategy", "schedule", "validation",
    "early_stopping", "model", "device",
)  # fmt: skip


def differ_in_lr_alone(a: Optimizer, b: Optimizer) -> bool:
    """Whether the rates are all that the optimizers differ in, if at all."""
    if a.kind != b.kind:
        return False
    mine, theirs = a.arguments, b.arguments
    return mine == theirs or {**mine, "lr": None} == {**theirs, "lr": None}


class SpectralGroup:
    """Fits that have the `common` parts and differ in rates alone; tables are of one shape.

    Each of them `fits_together`.

    Raises SpecificationError where one of them cannot begin.
    """

    def __init__(self, specs: Sequence[Specification], tables: Sequence[Data]) -> None:
        self._specs = specs
        self._tables = tables
        spec, self._shape = specs[0], tables[0].shape
        self._batches = cut_batches(spec, self._shape.n_rows)
        self._scalings = [Scaling.of(one) for one in tables] if spec.standardize else None
        self._starts = _first_weights(specs, self._shape)
        self._layer = Layer.of(self._start(0))
        self._lrs = [one.optimizer.lr for one in specs]
        # By the fits' rates; the first fit of each stands for all.
        leaders = dict(zip(reversed(self._lrs), reversed(specs), strict=True))
        self._rates = {lr: Rates(leaders[lr], self._batches) for lr in dict.fromkeys(self._lrs)}
        self._group = self._gathered()
        self._form = Form(
            line=line_of(spec, has_bias=self._layer.bias is not None),
            rule=rule_of(spec, self._layer.coefficients().size),
            every=spec.record.every,
            single=spec.dtype == "float32",
            alike=self._are_alike(),
        )
        self._out = group_loops.room(self._group, spec.record.every)
        # What the histories have in common; no fit's is longer.
        whole = Trace(self._batches, spec.record.every, math.nan)
        whole.n_losses = self._batches.total_steps
        self._whole = whole.history()
        self.compute_seconds = math.nan

    def __len__(self) -> int:
        return len(self._specs)

    def descend(self, first: int, stop: int) -> None:
        """Fit those of [first, stop); several threads may, each its own."""
        group_loops.descend_group(self._group, self._form, self._out, first, stop)

    def found(self) -> list[bool]:
        """Which of the fits could be computed in closed form."""
        found: list[bool] = (self._out.found == table_loops.FOUND).tolist()
        return found

    def result(self, i: int) -> Result:
        """How the fit ended, where it is one of the `found`."""
        out, spec = self._out, self._specs[i]
        n_steps, why = int(out.n_steps[i]), int(out.why[i])
        failed = why == spectral_loops.FAILED
        rates, layer = self._rates[self._lrs[i]], self._layer
        final_loss = float(out.final_loss[i])
        return Result(
            status="diverged" if failed else ENDS.get(why, "completed"),
            weights=layer.at(out.weights[i]).named(spec.dtype),
            initial_weights=self._start(i),
            history=self._history(i, rates),
            n_steps=n_steps,
            total_steps=self._batches.total_steps,
            failed_step=n_steps if failed else None,
            final_loss=final_loss if math.isfinite(final_loss) else None,
            strategy="spectral",
            n_threads=1,
            compute_seconds=self.compute_seconds / len(self),
            split=Split(self._tables[i]),
            snapshot=snapshot_of(spec, rates, self._batches, layer, self._at(i, n_steps)),
            scaling=None if self._scalings is None else self._scalings[i],
        )

    def _start(self, i: int) -> Weights:
        return {name: array[i] for name, array in self._starts.items()}

    def _gathered(self) -> Group:
        """The group's numbers, the fits' one after the other."""
        tables, n_fits = self._tables, len(self)
        if self._scalings is not None:
            tables = [
                ScaledRows(one, scaling).read(0, self._shape.n_rows)
                for one, scaling in zip(tables, self._scalings, strict=True)
            ]
        weights = [one.weight for one in tables if one.weight is not None]
        paths = {lr: i for i, lr in enumerate(self._rates)}
        return Group(
            x=np.concatenate([one.x for one in tables]).reshape(n_fits, *tables[0].x.shape),
            y=np.concatenate([one.y for one in tables]).reshape(n_fits, *tables[0].y.shape),
            weight=np.concatenate(weights).reshape(n_fits, -1)
            if weights
            else np.empty((n_fits, 0)),
            coefficients=_coefficients(self._starts),
            lr=np.array([rates.lr for rates in self._rates.values()]),
            momentum=np.array([rates.momentum for rates in self._rates.values()]),
            path=np.array([paths[lr] for lr in self._lrs]),
        )

    def _are_alike(self) -> bool:
        """Whether only the rates tell one fit's steps from another's, and where they end."""
        momentum = self._group.momentum
        return self._specs[0].early_stopping is None and bool((momentum == momentum[0]).all())

    def _history(self, i: int, rates: Rates) -> History:
        """The fit's history, as far as it came: of its epochs each is one step."""
        out, whole, every = self._out, self._whole, self._form.every
        n_epochs = int(out.n_losses[i])
        n_kept = -(-n_epochs // every)
        return History(
            step=whole.step[:n_kept],
            epoch=whole.epoch[:n_kept],
            loss=out.loss[i, :n_kept],
            lr=rates.lr[:n_epochs:every],
            grad_norm=out.grad_norm[i, :n_kept],
            epochs_epoch=whole.epochs_epoch[:n_epochs],
            epochs_train_loss=out.epoch_sums[i, :n_epochs],
            epochs_validation_loss=whole.epochs_validation_loss[:n_epochs],
        )

    def _at(self, i: int, n_steps: int) -> Reached:
        out, size = self._out, self._layer.coefficients().size
        now = slice(n_steps % 2 * size, (n_steps % 2 + 1) * size)
        return Reached(
            spectrum=Spectrum(out.basis[i], out.scale[i], out.pull[i], float(out.rest[i])),
            origin=self._group.coefficients[i].ravel(),
            place=out.place[i, now],
            pull=out.pulled[i, now],
            velocity=out.velocity[i, now],
            moving=bool(out.moving[i]),
            n_steps=n_steps,
        )


def _first_weights(specs: Sequence[Specification], shape: Shape) -> Weights:
    """The fits' first weights in their dtype, by their names: (B, k, d) and (B, k).

    Raises SpecificationError for weights that do not suit.
    """
    stacked = _given_weights(specs, shape)
    if stacked is not None:
        return stacked
    starts = []
    for one in specs:
        one.init.check(one.model, shape, one.dtype)
        starts.append(one.init.weights(one.model, shape, one.dtype, one.seeds.init))
    return {name: np.array([start[name] for start in starts]) for name in starts[0]}


def _given_weights(specs: Sequence[Specification], shape: Shape) -> Weights | None:
    """As `_first_weights`, all at once; None where one fit gives none, or some that do not suit."""
    given = [one.init.given for one in specs if isinstance(one.init, GivenInit)]
    sizes, dtype = specs[0].model.weight_shapes(shape), specs[0].dtype
    if len(given) < len(specs):
        return None
    stacked: Weights = {}
    for name, size in sizes.items():
        arrays = [one[name] for one in given if name in one and len(one) == len(sizes)]
        if len(arrays) < len(specs) or {array.shape for array in arrays} != {size}:
            return None
        together = np.concatenate(arrays).reshape(len(specs), *size)
        if not (np.abs(together) <= largest(dtype)).all():
            return None
        stacked[name] = together.astype(numpy_dtype(dtype))
    return stacked


def _coefficients(starts: Weights) -> NDArray[np.float64]:
    """(B, k, p), the bias last."""
    weight = starts["weight"].astype(np.float64)
    if "bias" not in starts:
        return weight
    return np.concatenate([weight, starts["bias"].astype(np.float64)[:, :, None]], axis=2)
