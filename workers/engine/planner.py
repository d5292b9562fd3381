"""The choice of a strategy, from a fit's specification and shape alone."""

from collections.abc import Callable
from itertools import pairwise

from workers.engine.batched_rules import BATCHED_RULES
from workers.engine.data import Shape
from workers.engine.errors import SpecificationError
from workers.engine.kernel_codes import RULE_CODES
from workers.engine.losses import Mse
from workers.engine.models import Linear, Polynomial, layer_widths
from workers.engine.networks import Mlp
from workers.engine.rates import PATHS
from workers.engine.specification import Specification

Covers = Callable[[Specification], bool]

# Rows of more bytes than this, as float64, are never all in memory.
_MOST_BYTES_IN_MEMORY = 2**30
_NUMBER_BYTES = 8
_FEW_TARGETS = 16
_MUCH_WORK = 2**26
# Features, bias and targets of a closed form: its time goes with their cube.
_MOST_COLUMNS = 2_048
# As measured, beside a multiplication by a row's feature in a loop.
_PRODUCT_SPEEDUP = 6
_DECOMPOSITION_WORK = 4
_COORDINATE_WORK = 12
_STREAMED_SLOWDOWN = 4
_LITTLE_WORK = 2**24
# A descent and its rehearsals, beside a step's products, and what torch takes around a step.
_RUNS = 3
_RUN_WORK = 2**9
_PLAIN_STEP_WORK = 2**17
_MOST_REHEARSED = 2**32
_REHEARSED_A_SECOND = 2**28


def _kernels_cover(spec: Specification) -> bool:
    schedule, model = spec.schedule, spec.model
    foreseen = schedule is None or schedule.kind in PATHS
    plain = isinstance(model, Linear) or not (model.dropout or model.batch_norm)
    return foreseen and plain and spec.optimizer.kind in RULE_CODES


def _spectral_covers(spec: Specification) -> bool:
    # Their subclasses' outputs are scores of classes.
    linear = type(spec.model) in (Linear, Polynomial) and type(spec.loss) is Mse
    known = spec.schedule is None or spec.schedule.kind in PATHS
    descends = spec.optimizer.kind == "sgd" and not spec.optimizer.climbs
    return linear and known and descends and spec.penalty.l1 == 0


def _graphs_cover(spec: Specification) -> bool:
    extras = (spec.tolerance, spec.validation, spec.early_stopping)
    schedule, model = spec.schedule, spec.model
    # Their rates follow from the losses, or they move more than the rate.
    foreseen = schedule is None or schedule.kind not in ("reduce_on_plateau", "one_cycle", "cyclic")
    plain = not isinstance(model, Mlp) or (model.dropout == 0 and not model.batch_norm)
    # These have constants of their own, which come to the device at each step.
    constants = (getattr(spec.loss, name, None) for name in ("class_weight", "pos_weight"))
    known = spec.optimizer.kind in BATCHED_RULES and not spec.record.gradients
    return plain and foreseen and known and all(one is None for one in (*extras, *constants))


def _normal_covers(spec: Specification) -> bool:
    linear = type(spec.model) in (Linear, Polynomial) and type(spec.loss) is Mse
    schedule = spec.schedule
    known = schedule is None or schedule.looks_at_the_loss or schedule.kind in PATHS
    return linear and known and not spec.optimizer.searches


# In the order of preference.
COVERED: dict[str, Covers] = {
    "spectral": _spectral_covers,
    "normal": _normal_covers,
    "kernels": _kernels_cover,
    "graphs": _graphs_cover,
    "large": lambda spec: not spec.optimizer.searches,
    "reference": lambda spec: True,
    "streaming": lambda spec: True,
}
_STREAMED = frozenset({"spectral", "normal", "streaming"})
# Those that look at the rows once, all of them at every step.
_SQUARED = frozenset({"spectral", "normal"})


def is_streamed(shape: Shape) -> bool:
    """Whether so many rows are read from their source again and again, and never kept."""
    row_bytes = _NUMBER_BYTES * (shape.n_features + shape.n_targets + shape.weighted)
    return shape.n_rows * row_bytes > _MOST_BYTES_IN_MEMORY


def choose_strategy(
    spec: Specification, shape: Shape, *, in_memory: bool = True, resumes: str | None = None
) -> str:
    """The strategy's name; a source of rows that are not in memory is streamed at any size.

    A fit that `resumes` one by such a strategy stays there, so that two are one to the bit.
    Raises SpecificationError where the specification forces one that does not cover it. Neither
    load nor other fits are looked at, for another strategy gives other last bits.
    """
    covering = covering_strategies(spec, shape, in_memory=in_memory)
    if spec.device == "cuda":
        return _on_device(spec, covering)
    if spec.strategy == "auto":
        streamed = "reference" not in covering
        if resumes in covering:
            return resumes
        if "spectral" in covering and _is_worth_a_spectrum(spec, shape, streamed):
            return "spectral"
        loop = _choose_loop(spec, shape, covering)
        # Where a spectrum is not worth its pass, squares are not either.
        others = "normal" in covering and "spectral" not in covering
        return "normal" if others and _is_worth_squares(spec, shape, loop) else loop
    if spec.strategy not in covering:
        named = ", ".join(map(repr, covering))
        detail = f"{spec.strategy!r} does not cover this fit; these do: {named}"
        raise SpecificationError("/strategy", detail)
    return spec.strategy


def _on_device(spec: Specification, covering: list[str]) -> str:
    """The strategy of a CUDA device; raises SpecificationError where it does not cover the fit."""
    if spec.strategy not in ("auto", "graphs"):
        raise SpecificationError("/strategy", f"a CUDA device has 'graphs', no {spec.strategy!r}")
    if "graphs" not in covering:
        detail = "a CUDA device does not cover this fit; ask for cpu"
        raise SpecificationError("/device", detail)
    return "graphs"


def choose_loop(spec: Specification, shape: Shape, *, in_memory: bool = True) -> str:
    """The strategy that makes the steps one by one, whichever the specification asks for."""
    return _choose_loop(spec, shape, covering_strategies(spec, shape, in_memory=in_memory))


def _choose_loop(spec: Specification, shape: Shape, covering: list[str]) -> str:
    large = _is_matrix_product(spec, shape)
    others = {*_SQUARED, "graphs", "kernels" if large else "large"}
    return next(name for name in covering if name not in others)


def covering_strategies(spec: Specification, shape: Shape, *, in_memory: bool) -> list[str]:
    """What can compute the fit, the preferred ones first."""
    streamed = is_streamed(shape) or not in_memory
    return [
        name
        for name, covers in COVERED.items()
        if covers(spec)
        and (name in _STREAMED or not streamed)
        and (name not in _SQUARED or _has_squares(spec, shape))
    ]


def _has_squares(spec: Specification, shape: Shape) -> bool:
    """Whether each step is on all rows, and has few enough coordinates to be decomposed."""
    whole = spec.batch_size is None or spec.batch_size >= shape.n_rows
    return whole and shape.n_features + shape.n_targets <= _MOST_COLUMNS


def _is_worth_a_spectrum(spec: Specification, shape: Shape, streamed: bool) -> bool:
    """Whether a pass, a decomposition and steps by coordinates cost less than steps by rows.

    In multiplications by a row's features. Where it costs next to nothing, the number of steps is
    not looked at.
    """
    width, n_steps = shape.n_features + 1, spec.steps or spec.epochs or 0
    by_step = width * shape.n_targets * (_COORDINATE_WORK + (width if spec.validation else 0))
    once, by_rows = _work_once(shape), _work_by_rows(spec, shape, streamed)
    return once <= _LITTLE_WORK or once + n_steps * by_step <= n_steps * by_rows


def _is_worth_squares(spec: Specification, shape: Shape, loop: str) -> bool:
    """The same of steps by pairs of features, all of which are rehearsed before the first one.

    So there must not be too many for some seconds, nor for the fit's own limit.
    """
    width, n_steps = shape.n_features + 1, spec.steps or spec.epochs or 0
    pairs = width * width // 2 * (2 if spec.validation else 1)
    by_step = _RUNS * (shape.n_targets * (pairs + width * _COORDINATE_WORK) + _RUN_WORK)
    by_rows = _work_by_rows(spec, shape, loop == "streaming")
    by_rows += 0 if loop == "kernels" else _PLAIN_STEP_WORK
    if n_steps * by_step > min(_MOST_REHEARSED, _REHEARSED_A_SECOND * spec.limits.max_seconds):
        return False
    return _work_once(shape) + n_steps * by_step <= n_steps * by_rows


def _work_once(shape: Shape) -> int:
    """A pass over the rows, and a decomposition of what it tells."""
    width = shape.n_features + 1
    product = shape.n_rows * (width + shape.n_targets) ** 2 // 2 // _PRODUCT_SPEEDUP
    return product + _DECOMPOSITION_WORK * width**3


def _work_by_rows(spec: Specification, shape: Shape, streamed: bool) -> int:
    """A step on all rows."""
    by_rows = 2 * shape.n_rows * shape.n_features * shape.n_targets
    if streamed:
        return by_rows * _STREAMED_SLOWDOWN
    return by_rows // _PRODUCT_SPEEDUP if _is_matrix_product(spec, shape) else by_rows


def _is_matrix_product(spec: Specification, shape: Shape) -> bool:
    """Whether a step is so much of a matrix product that torch's, on several cores, is faster."""
    widths = layer_widths(spec.model, shape)
    size = min(spec.batch_size or shape.n_rows, shape.n_rows)
    work = size * sum(n_in * n_out for n_in, n_out in pairwise(widths))
    return max(widths[1:]) > _FEW_TARGETS and work > _MUCH_WORK
