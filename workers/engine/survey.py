"""What a pass over the rows of least squares tells before the first step."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from workers.engine import small_tables, spectrum_loops
from workers.engine.data import RowSource
from workers.engine.normal_equations import Layer, Moments, gather, sum_squares
from workers.engine.results import Fallback
from workers.engine.snapshot import NormalState, SpectralState, Start
from workers.engine.specification import Specification
from workers.engine.spectrum import are_safe, decompose, digest, factor
from workers.engine.spectrum_loops import Factor, Spectrum
from workers.engine.splitting import Split
from workers.engine.table_loops import ILL_CONDITIONED, NOT_FINITE
from workers.engine.threads import one_blas_thread

FALLBACKS: Mapping[int, Fallback] = {ILL_CONDITIONED: "ill_conditioned", NOT_FINITE: "not_finite"}

Earlier = SpectralState | NormalState


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The loss around a layer, on the training rows and on those that are held out, if any.

    `spectrum` is the factor's. `n_values`, of either, is what a mean loss is a sum of. `velocity`
    is the momentum buffer that the fit begins with, if any; `state` is what an earlier fit around
    the same layer, on the same rows, left behind.
    """

    layer: Layer
    factor: Factor
    spectrum: Spectrum
    n_values: float
    velocity: Layer | None = None
    state: Earlier | None = None
    held_out: Factor | None = None
    n_held_out_values: float = 0.0


def survey(
    spec: Specification, split: Split, start: Start, earlier: Earlier | None
) -> Generator[None, None, Found | Fallback]:
    """Read the rows, stopping after every group of them, as `normal_equations.gather` does.

    `earlier` is what a fit by the same strategy left in the start's snapshot, if anything.

    A fallback says why the squares of the data are not to be trusted; it follows from the data and
    the specification, whatever its number of steps.
    """
    before = start.snapshot
    layer = Layer.of(start.weights if before is None else before.weights)
    found: Found | Fallback = "not_finite"
    if earlier is not None:
        found = yield from _resumed(spec, split.train, layer, earlier)
    if isinstance(found, str):
        found = yield from _around(spec, split.train, layer)
    if isinstance(found, str):
        return found
    found = replace(found, velocity=_velocity(start))
    if split.validation is None:
        return found
    moments = yield from gather(split.validation, found.layer, spec.dtype)
    held_out = factor(moments, found.layer, spec.penalty.l2)
    if held_out is None:
        return "not_finite"
    n_values = _n_values(split.validation, moments)
    return replace(found, held_out=held_out, n_held_out_values=n_values)


def _velocity(start: Start) -> Layer | None:
    states = [] if start.snapshot is None else start.snapshot.optimizer
    buffers = [np.asarray(of["momentum_buffer"]) for of in states if "momentum_buffer" in of]
    return Layer.of(dict(zip(start.weights, buffers, strict=True))) if buffers else None


def _resumed(
    spec: Specification, rows: RowSource, layer: Layer, state: Earlier
) -> Generator[None, None, Found | Fallback]:
    """Around the layer that the earlier fit began with; of no use where the rows are others."""
    if state.origin.size != layer.coefficients().size:
        return "not_finite"
    found = yield from _around(spec, rows, layer.at(state.origin))
    if isinstance(found, Found) and digest(found.spectrum) == state.digest:
        return replace(found, state=state)
    return "not_finite"


def _around(
    spec: Specification, rows: RowSource, layer: Layer
) -> Generator[None, None, Found | Fallback]:
    if small_tables.is_small(rows.shape):
        code, told, turned, n_values = small_tables.survey(spec, rows, layer)
        return FALLBACKS.get(code) or Found(layer, told, turned, n_values)
    moments = yield from gather(rows, layer, spec.dtype)
    factored = factor(moments, layer, spec.penalty.l2)
    if factored is None:
        return "not_finite"
    spectrum = decompose(factored)
    if not are_safe(factored, spectrum, spec.dtype):
        return "ill_conditioned"
    loss = spectrum_loops.loss_at(spectrum, np.zeros_like(spectrum.pull))
    if spectrum.rest < spectrum_loops.LEAST_SHARE * loss:
        best_loss = yield from _best_loss(spec, rows, layer, spectrum)
        spectrum = spectrum._replace(rest=spectrum_loops.better_rest(spectrum, loss, best_loss))
    return Found(layer, factored, spectrum, _n_values(rows, moments))


def _best_loss(
    spec: Specification, rows: RowSource, layer: Layer, spectrum: Spectrum
) -> Generator[None, None, float]:
    """The loss at the best of all weights, by a second pass."""
    with one_blas_thread(), np.errstate(all="ignore"):
        place = spectrum_loops.best_place(spectrum)
        best = layer.at(spectrum_loops.moved(spectrum, layer.coefficients(), place))
        penalty = spec.penalty.l2 * float(np.square(best.weight).sum())
    squares, total = yield from sum_squares(rows, best, spec.dtype)
    return squares / (total * rows.shape.n_targets) + penalty


def _n_values(rows: RowSource, moments: Moments) -> float:
    return moments.total if rows.weighted else moments.total * rows.shape.n_targets
