"""Checks of a fit's numbers, as a grader sends them."""

import sys
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.schemas.common import Name, NonNegative, Schema

MOST_CHECKS = 1_000
MOST_DIMENSIONS = 8
MOST_FINITE = sys.float_info.max


def _numbers(value: Any) -> Any:
    """A number, a text, lists of one shape of either, or such by names; what else is refused."""
    if not isinstance(value, dict):
        return _one_array(value)
    if not all(isinstance(name, str) for name in value):
        raise PydanticCustomError("not_comparable", "arrays go by their names")
    return {name: _one_array(part) for name, part in value.items()}


def _one_array(value: Any) -> Any:
    _shape(value, MOST_DIMENSIONS)
    return _storable(value)


def _shape(value: Any, most_dimensions: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        _refuse_incomparable(value)
        return ()
    if not most_dimensions:
        raise PydanticCustomError(
            "too_many_dimensions", "lists may lie {n} deep at most", {"n": MOST_DIMENSIONS}
        )
    inner = {_shape(part, most_dimensions - 1) for part in value}
    if len(inner) > 1:
        raise PydanticCustomError("ragged", "the lists in a list must have one length")
    return (len(value), *(inner.pop() if inner else ()))


def _refuse_incomparable(value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number or isinstance(value, str)):
        raise PydanticCustomError("not_comparable", "is no number, and no class")
    if number and not -MOST_FINITE <= value <= MOST_FINITE:
        raise PydanticCustomError("finite_number", "must be a finite number")


def _storable(value: Any) -> Any:
    """The same with whole numbers that need more than 64 bits as floats."""
    if isinstance(value, list):
        return [_storable(part) for part in value]
    whole = isinstance(value, int) and not -(2**63) <= value < 2**63
    return float(value) if whole else value


_SINGLE: list[dict[str, Any]] = [{"type": "number"}, {"type": "string"}]
Expected: TypeAlias = Annotated[
    Any,
    BeforeValidator(_numbers),
    WithJsonSchema({"anyOf": [*_SINGLE, {"type": "array", "items": {}}, {"type": "object"}]}),
]


class Check(Schema):
    """What one of a fit's numbers, or one of its arrays, should be: numpy's `isclose` rule.

    |found - expected| ≤ atol + rtol·|expected|, in every entry.
    """

    target: Annotated[
        str,
        Field(
            min_length=1,
            max_length=400,
            examples=["final_loss"],
            description=(
                "`weights.<name>`, `coefficients.<feature>`, `loss_history.loss`, `final_loss`, "
                "`metrics.train.<metric>`, `metrics.validation.<metric>`, `trajectory` or "
                "`predictions`."
            ),
        ),
    ]
    expected: Annotated[Expected, Field(examples=[0.0832])]
    rtol: NonNegative = 1e-5
    atol: NonNegative = 1e-8
    points: NonNegative = 1.0
    name: Name | None = None
    hidden: bool = False


Checks = Annotated[list[Check], Field(max_length=MOST_CHECKS)]


class ChecksRequest(Schema):
    """Checks of a fit that has ended."""

    checks: Annotated[list[Check], Field(min_length=1, max_length=MOST_CHECKS)]
