"""What a pass over the rows of least squares tells before the first step."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from workers.engine.data import RowSource
from workers.engine.normal_equations import Layer, Moments, gather, sum_squares
from workers.engine.results import Fallback
from workers.engine.snapshot import SpectralState, Start
from workers.engine.specification import Specification
from workers.engine.spectrum import Factor, Spectrum, decompose, factor
from workers.engine.splitting import Split
from workers.engine.threads import one_blas_thread

# Below this share of the first loss, the smallest one is told too badly by a difference of sums.
_LEAST_SHARE = 1e-3
_ROUNDING = 64 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The loss around a layer, on the training rows and on those that are held out, if any.

    `n_values`, of either, is what a mean loss is a sum of. `velocity` is the momentum buffer that
    the fit begins with, if any; `state` is where an earlier fit around the same layer came to, on
    the same rows.
    """

    layer: Layer
    spectrum: Spectrum
    n_values: float
    velocity: Layer | None = None
    state: SpectralState | None = None
    held_out: Factor | None = None
    n_held_out_values: float = 0.0


def survey(
    spec: Specification, split: Split, start: Start
) -> Generator[None, None, Found | Fallback]:
    """Read the rows, stopping after every group of them, as `normal_equations.gather` does.

    A fallback says why the squares of the data are not to be trusted; it follows from the data and
    the specification, whatever its number of steps.
    """
    before = start.snapshot
    layer = Layer.of(start.weights if before is None else before.weights)
    found: Found | Fallback = "not_finite"
    if before is not None and before.spectral is not None:
        found = yield from _resumed(spec, split.train, layer, before.spectral)
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
    spec: Specification, rows: RowSource, layer: Layer, state: SpectralState
) -> Generator[None, None, Found | Fallback]:
    """Around the layer that the earlier fit began with; of no use where the rows are others."""
    if state.origin.size != layer.coefficients().size:
        return "not_finite"
    found = yield from _around(spec, rows, layer.at(state.origin))
    if isinstance(found, Found) and found.spectrum.digest() == state.digest:
        return replace(found, state=state)
    return "not_finite"


def _around(
    spec: Specification, rows: RowSource, layer: Layer
) -> Generator[None, None, Found | Fallback]:
    moments = yield from gather(rows, layer, spec.dtype)
    factored = factor(moments, layer, spec.penalty.l2)
    if factored is None:
        return "not_finite"
    if not factored.is_safe(spec.dtype):
        return "ill_conditioned"
    spectrum = decompose(factored)
    if not spectrum.is_safe(spec.dtype):
        return "ill_conditioned"
    if spectrum.rest < _LEAST_SHARE * spectrum.loss:
        rest = yield from _rest(spec, rows, layer, spectrum)
        spectrum = replace(spectrum, rest=rest)
    return Found(layer, spectrum, _n_values(rows, moments))


def _rest(
    spec: Specification, rows: RowSource, layer: Layer, spectrum: Spectrum
) -> Generator[None, None, float]:
    """What no weights change, by a second pass, at the best of them.

    The first pass told it as the small difference of two large losses.
    """
    with one_blas_thread(), np.errstate(all="ignore"):
        moved = spectrum.best() @ spectrum.basis.T
        best = layer.at(layer.coefficients() + moved)
        penalty = spec.penalty.l2 * float(np.square(best.weight).sum())
    squares, total = yield from sum_squares(rows, best, spec.dtype)
    loss = squares / (total * rows.shape.n_targets) + penalty
    rest = max(0.0, loss - spectrum.flat)
    # Where the best weights are far away, that they are rounded is seen more than it is here.
    return rest if rest <= spectrum.rest + _ROUNDING * spectrum.loss else spectrum.rest


def _n_values(rows: RowSource, moments: Moments) -> float:
    return moments.total if rows.weighted else moments.total * rows.shape.n_targets
