"""The choice of a strategy, from a fit's specification and shape alone."""

from collections.abc import Callable

from workers.engine.data import Shape
from workers.engine.errors import SpecificationError
from workers.engine.kernel_codes import RULE_CODES
from workers.engine.models import Linear
from workers.engine.schedules import SCHEDULES
from workers.engine.specification import Specification

Covers = Callable[[Specification], bool]

# Rows of more bytes than this, as float64, are never all in memory.
_MOST_BYTES_IN_MEMORY = 2**30
_NUMBER_BYTES = 8
_FEW_TARGETS = 16
_SMALL_WORK = 2**20


def _kernels_cover(spec: Specification) -> bool:
    schedule, model = spec.schedule, spec.model
    foreseen = schedule is None or (schedule.kind in SCHEDULES and not schedule.looks_at_the_loss)
    plain = isinstance(model, Linear) or not (model.dropout or model.batch_norm)
    ends = spec.validation is None and spec.early_stopping is None
    return foreseen and plain and ends and spec.optimizer.kind in RULE_CODES


# In the order of preference.
COVERED: dict[str, Covers] = {
    "kernels": _kernels_cover,
    "reference": lambda spec: True,
    "streaming": lambda spec: True,
}
_STREAMED = frozenset({"streaming"})


def is_streamed(shape: Shape) -> bool:
    """Whether so many rows are read from their source again and again, and never kept."""
    row_bytes = _NUMBER_BYTES * (shape.n_features + shape.n_targets + shape.weighted)
    return shape.n_rows * row_bytes > _MOST_BYTES_IN_MEMORY


def choose_strategy(spec: Specification, shape: Shape, *, in_memory: bool = True) -> str:
    """The strategy's name; a source of rows that are not in memory is streamed at any size.

    Raises SpecificationError where the specification forces one that does not cover it. Neither
    load nor other fits are looked at, for another strategy gives other last bits.
    """
    streamed = is_streamed(shape) or not in_memory
    covering = [
        name
        for name, covers in COVERED.items()
        if covers(spec) and (name in _STREAMED or not streamed)
    ]
    if spec.strategy == "auto":
        product = "reference" in covering and _is_matrix_product(spec, shape)
        return "reference" if product else covering[0]
    if spec.strategy not in covering:
        named = ", ".join(map(repr, covering))
        detail = f"{spec.strategy!r} does not cover this fit; these do: {named}"
        raise SpecificationError("/strategy", detail)
    return spec.strategy


def _is_matrix_product(spec: Specification, shape: Shape) -> bool:
    """Whether a step is so much of a matrix product that torch's is the fastest."""
    size = min(spec.batch_size or shape.n_rows, shape.n_rows)
    work = size * shape.n_features * shape.n_targets
    return shape.n_targets > _FEW_TARGETS and work > _SMALL_WORK
