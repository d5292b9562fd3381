"""From what a pass over the rows tells to a descent on their normal equations, if it may be."""

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from workers.engine.dtypes import largest
from workers.engine.early_stopping import EarlyStopping
from workers.engine.normal import Beginning
from workers.engine.normal_equations import Layer
from workers.engine.normal_problem import Ends, Penalty, Problem, Quadratic, Rounding
from workers.engine.normal_state import begun, rule_of
from workers.engine.plateau import NO_PLATEAU, PlateauRates
from workers.engine.rates import Rates
from workers.engine.snapshot import Start
from workers.engine.specification import Specification
from workers.engine.spectrum import digest
from workers.engine.spectrum_loops import Factor, best_place, flat_loss
from workers.engine.survey import Found
from workers.engine.threads import one_blas_thread

Floats = NDArray[np.float64]


def begin(
    spec: Specification, start: Start, rates: Rates | PlateauRates, found: Found
) -> Beginning:
    """The fit before its first step."""
    before = start.snapshot
    layer = Layer.of(start.weights if before is None else before.weights)
    first = float(rates.lr[0]) if len(rates.lr) else spec.optimizer.lr
    state = begun(spec.optimizer, layer, before, first)
    plateau = NO_PLATEAU
    if isinstance(rates, PlateauRates):
        state.plateau[:], plateau = rates.place, rates.rule
    problem = Problem(
        train=_train(found),
        held_out=_held_out(found),
        origin=found.layer.coefficients().ravel().copy(),
        penalty=Penalty(layer.weight.shape[1], float(spec.penalty.l1), float(spec.penalty.l2)),
        rounding=Rounding(np.empty(0), np.empty(0), np.empty(0), 0.0),
        rule=rule_of(spec.optimizer, spec.dtype),
        ends=_ends(spec, max(found.n_values, found.n_held_out_values)),
        plateau=plateau,
    )
    return Beginning(layer, problem, state, digest(found.spectrum))


def _ends(spec: Specification, most_values: float) -> Ends:
    never = EarlyStopping("train_loss", -1, 0.0, restore_best=False)
    stopping = spec.early_stopping or never
    clip, penalty = spec.clip_grad_norm, spec.penalty
    least = min(1.0, penalty.l1 or 1.0, penalty.l2 or 1.0)
    return Ends(
        clip_grad_norm=math.inf if clip is None else float(clip),
        tolerance=float(spec.tolerance or 0.0),
        largest=largest(spec.dtype),
        sure_loss=least * (largest(spec.dtype) / max(1.0, most_values)),
        patience=stopping.patience,
        min_delta=float(stopping.min_delta),
        monitors_train=stopping.monitor == "train_loss",
        keeps_best=stopping.restore_best,
    )


def _train(found: Found) -> Quadratic:
    """The loss on the training rows; its smallest one is known better than a difference of sums."""
    quadratic = _quadratic(found.factor, found.n_values)
    spectrum = found.spectrum
    with one_blas_thread(), np.errstate(all="ignore"):
        best = best_place(spectrum) @ spectrum.basis.T
        left = quadratic.offset + best @ quadratic.transposed
        rest = spectrum.rest + flat_loss(spectrum) - float(np.square(left).sum()) / len(left)
    return quadratic._replace(rest=max(0.0, rest))


def _held_out(found: Found) -> Quadratic:
    if found.held_out is None:
        nothing = np.zeros((0, 0))
        return Quadratic(nothing, nothing, nothing, 0.0, 0.0)
    return _quadratic(found.held_out, found.n_held_out_values)


def _quadratic(factor: Factor, n_values: float) -> Quadratic:
    """The factor, as a triangle: its columns keep their digits, however small beside others."""
    size, n_targets = factor.matrix.shape[1], factor.offset.shape[1]
    table = np.hstack([factor.matrix, factor.offset])
    missing = max(0, size + n_targets - len(table))
    with one_blas_thread(), np.errstate(all="ignore"):
        # numpy's types do not know that this mode gives R alone.
        reduced = cast(Floats, np.linalg.qr(np.pad(table, ((0, missing), (0, 0))), mode="r"))
    triangle = np.ascontiguousarray(reduced[:size, :size])
    return Quadratic(
        triangle=triangle,
        transposed=np.ascontiguousarray(triangle.T),
        offset=np.ascontiguousarray(reduced[:size, size:].T),
        rest=factor.rest + float(np.square(reduced[size:, size:]).sum()) / n_targets,
        n_values=n_values,
    )
