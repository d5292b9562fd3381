"""A fit's arrays and arguments, laid out for compiled loops."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import DType, largest, numpy_dtype
from workers.engine.kernel_buffers import OptimizerBuffers, flat, rule_of
from workers.engine.kernel_layout import Layout, cut_tiles, lay_out, widths_of
from workers.engine.kernel_losses import Room
from workers.engine.kernel_objectives import loss_of
from workers.engine.kernel_products import Numbers
from workers.engine.kernel_rows import Rows, lay_all
from workers.engine.kernels import Problem, State
from workers.engine.models import Linear
from workers.engine.outputs import check_outputs
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification

# As much as is near a core on most machines.
_CACHE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Setting:
    """What compiled loops are given; `parameters` and `gradient` are parts of the state."""

    problem: Problem
    rows: Rows
    state: State
    buffers: OptimizerBuffers
    parameters: Numbers
    gradient: Numbers


def set_up(spec: Specification, data: Data, batches: Batches, start: Start) -> Setting:
    """The setting of a fit, as it begins or goes on from a snapshot.

    Raises SpecificationError where the loss takes other numbers than the model gives, and
    ValueError where the weights are for other rows: compiled loops would read what is not theirs.
    """
    shapes = {name: array.shape for name, array in start.weights.items()}
    widths = widths_of(shapes)
    check_outputs(spec.loss, widths[-1], data.shape)
    if widths[0] != data.shape.n_features:
        raise ValueError(f"the weights take {widths[0]} features, not {data.shape.n_features}")
    tiles = cut_tiles(widths, batches.size, batches.n_rows, spec.dtype)
    layout = lay_out(shapes, tiles, data.shape.n_targets, _codes(spec), spec.dtype)
    plan = layout.plan
    buffers = _buffers(spec, plan.n_parameters, start.snapshot)
    room = Room(*(np.empty(tiles.step) for _ in Room._fields))
    state = State(
        layout.numbers, buffers.buffers, room, buffers.n_updates, buffers.is_moving, np.zeros(2)
    )
    parameters, gradient = (
        layout.numbers[at : at + plan.n_parameters] for at in (plan.parameters_at, plan.gradient_at)
    )
    exact = start.weights if start.snapshot is None else start.snapshot.weights
    parameters[:] = flat((exact[name] for name in shapes), parameters.dtype)
    problem = _problem(spec, layout, widths[-1])
    return Setting(problem, _rows(data, layout, spec.dtype), state, buffers, parameters, gradient)


def _codes(spec: Specification) -> tuple[str, str]:
    """The activations of hidden layers, and of the last one."""
    if isinstance(spec.model, Linear):
        return "identity", "identity"
    output = spec.model.output
    return spec.model.activation, "identity" if output in ("auto", "linear") else output


def _buffers(spec: Specification, n_parameters: int, snapshot: Snapshot | None) -> OptimizerBuffers:
    scheduled = spec.schedule is not None
    buffers = OptimizerBuffers(spec.optimizer, n_parameters, spec.dtype, scheduled=scheduled)
    if snapshot is not None:
        buffers.resume(snapshot)
    return buffers


def _problem(spec: Specification, layout: Layout, n_outputs: int) -> Problem:
    return Problem(
        plan=layout.plan,
        loss=loss_of(spec.loss, n_outputs),
        rule=rule_of(spec.optimizer),
        l1=float(spec.penalty.l1),
        l2=float(spec.penalty.l2),
        clip=0.0 if spec.clip_grad_norm is None else float(spec.clip_grad_norm),
        tolerance=0.0 if spec.tolerance is None else float(spec.tolerance),
        largest=largest(spec.dtype),
    )


def _rows(data: Data, layout: Layout, dtype: DType) -> Rows:
    """The rows in the fit's precision, laid into tiles where these hold all of them."""
    weight = np.empty(0) if data.weight is None else data.weight
    rows = Rows(
        x=_rounded(data.x, dtype),
        y=_rounded(data.y, dtype),
        weight=_rounded(weight, dtype),
        order=np.empty(0, np.int64),
        in_order=True,
        n_rows=data.shape.n_rows,
        window=np.zeros(2, np.int64),
        window_rows=layout.tiles.window,
        row_step=layout.tiles.row_step,
        n_features=data.shape.n_features,
        n_targets=data.shape.n_targets,
        columns_at=layout.columns_at,
        rows_at=layout.rows_at,
        targets_at=layout.targets_at,
        weights_at=layout.weights_at,
        resident=layout.tiles.resident,
        fetches=data.x.size * numpy_dtype(dtype).itemsize > _CACHE_BYTES,
    )
    layout.numbers[rows.weights_at : rows.weights_at + layout.tiles.n * layout.tiles.step] = 1.0
    if rows.resident:
        lay_all(rows, layout.plan, layout.numbers)
    return rows


def _rounded(array: NDArray[np.float64], dtype: DType) -> NDArray[Any]:
    """The numbers in the precision, flat, in the one layout that is compiled for."""
    kind = numpy_dtype(dtype)
    if array.dtype == kind and array.flags.carray:
        return array.reshape(-1)
    rounded = np.empty(array.size, kind)
    with np.errstate(over="ignore"):
        rounded.reshape(array.shape)[...] = array
    return rounded
