"""The choice of a strategy, from a fit's specification and shape alone."""

from collections.abc import Callable

from workers.engine.data import Shape
from workers.engine.errors import SpecificationError
from workers.engine.kernel_codes import RULE_CODES
from workers.engine.losses import Mse
from workers.engine.models import Linear, Polynomial
from workers.engine.optimizers import Optimizer
from workers.engine.rates import PATHS
from workers.engine.specification import Specification

Covers = Callable[[Specification], bool]

# Rows of more bytes than this, as float64, are never all in memory.
_MOST_BYTES_IN_MEMORY = 2**30
_NUMBER_BYTES = 8
_FEW_TARGETS = 16
_SMALL_WORK = 2**20
# Features, bias and targets of a closed form: its time goes with their cube.
_MOST_COLUMNS = 2_048
# As measured, beside a multiplication by a row's feature in a loop.
_PRODUCT_SPEEDUP = 6
_DECOMPOSITION_WORK = 4
_COORDINATE_WORK = 12
_LITTLE_WORK = 2**24


def _kernels_cover(spec: Specification) -> bool:
    schedule, model = spec.schedule, spec.model
    foreseen = schedule is None or schedule.kind in PATHS
    plain = isinstance(model, Linear) or not (model.dropout or model.batch_norm)
    ends = spec.validation is None and spec.early_stopping is None
    return foreseen and plain and ends and _has_a_compiled_rule(spec.optimizer)


def _has_a_compiled_rule(optimizer: Optimizer) -> bool:
    decoupled = optimizer.arguments.get("decoupled_weight_decay", False)
    return optimizer.kind in RULE_CODES and not optimizer.climbs and not decoupled


def _spectral_covers(spec: Specification) -> bool:
    # Their subclasses' outputs are scores of classes.
    linear = type(spec.model) in (Linear, Polynomial) and type(spec.loss) is Mse
    known = spec.schedule is None or spec.schedule.kind in PATHS
    descends = spec.optimizer.kind == "sgd" and not spec.optimizer.climbs
    return linear and known and descends and spec.penalty.l1 == 0


# In the order of preference.
COVERED: dict[str, Covers] = {
    "spectral": _spectral_covers,
    "kernels": _kernels_cover,
    "reference": lambda spec: True,
    "streaming": lambda spec: True,
}
_STREAMED = frozenset({"spectral", "streaming"})


def is_streamed(shape: Shape) -> bool:
    """Whether so many rows are read from their source again and again, and never kept."""
    row_bytes = _NUMBER_BYTES * (shape.n_features + shape.n_targets + shape.weighted)
    return shape.n_rows * row_bytes > _MOST_BYTES_IN_MEMORY


def choose_strategy(
    spec: Specification, shape: Shape, *, in_memory: bool = True, resumes: bool = False
) -> str:
    """The strategy's name; a source of rows that are not in memory is streamed at any size.

    A fit that `resumes` one in closed form stays there, so that two are one to the bit.
    Raises SpecificationError where the specification forces one that does not cover it. Neither
    load nor other fits are looked at, for another strategy gives other last bits.
    """
    covering = covering_strategies(spec, shape, in_memory=in_memory)
    if spec.strategy == "auto":
        if "spectral" in covering and (resumes or _is_worth_a_spectrum(spec, shape)):
            return "spectral"
        return _choose_loop(spec, shape, covering)
    if spec.strategy not in covering:
        named = ", ".join(map(repr, covering))
        detail = f"{spec.strategy!r} does not cover this fit; these do: {named}"
        raise SpecificationError("/strategy", detail)
    return spec.strategy


def choose_loop(spec: Specification, shape: Shape, *, in_memory: bool = True) -> str:
    """The strategy that makes the steps one by one, whichever the specification asks for."""
    return _choose_loop(spec, shape, covering_strategies(spec, shape, in_memory=in_memory))


def _choose_loop(spec: Specification, shape: Shape, covering: list[str]) -> str:
    if "reference" in covering and _is_matrix_product(spec, shape):
        return "reference"
    return next(name for name in covering if name != "spectral")


def covering_strategies(spec: Specification, shape: Shape, *, in_memory: bool) -> list[str]:
    """What can compute the fit, the preferred ones first."""
    streamed = is_streamed(shape) or not in_memory
    return [
        name
        for name, covers in COVERED.items()
        if covers(spec)
        and (name in _STREAMED or not streamed)
        and (name != "spectral" or _has_a_spectrum(spec, shape))
    ]


def _has_a_spectrum(spec: Specification, shape: Shape) -> bool:
    """Whether each step is on all rows, and has few enough coordinates to be decomposed."""
    whole = spec.batch_size is None or spec.batch_size >= shape.n_rows
    return whole and shape.n_features + shape.n_targets <= _MOST_COLUMNS


def _is_worth_a_spectrum(spec: Specification, shape: Shape) -> bool:
    """Whether a pass, a decomposition and steps by coordinates cost less than steps by rows.

    In multiplications by a row's features. Where it costs next to nothing, the number of steps is
    not looked at.
    """
    width, n_targets = shape.n_features + 1, shape.n_targets
    n_steps = spec.steps or spec.epochs or 0
    product = shape.n_rows * (width + n_targets) ** 2 // 2 // _PRODUCT_SPEEDUP
    by_step = width * n_targets * (_COORDINATE_WORK + (width if spec.validation else 0))
    once = product + _DECOMPOSITION_WORK * width**3
    by_rows = 2 * shape.n_rows * shape.n_features * n_targets
    if _is_matrix_product(spec, shape):
        by_rows //= _PRODUCT_SPEEDUP
    return once <= _LITTLE_WORK or once + n_steps * by_step <= n_steps * by_rows


def _is_matrix_product(spec: Specification, shape: Shape) -> bool:
    """Whether a step is so much of a matrix product that torch's is the fastest."""
    size = min(spec.batch_size or shape.n_rows, shape.n_rows)
    work = size * shape.n_features * shape.n_targets
    return shape.n_targets > _FEW_TARGETS and work > _SMALL_WORK
