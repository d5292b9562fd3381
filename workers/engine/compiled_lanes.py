"""Numbers of several fits side by side, which compiled loops compute with at once.

Each operation rounds every lane as it rounds a number alone, so that a loop which is compiled for
lanes gives each fit the bits that it has by itself. LLVM makes what the CPU has of a line of lanes.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import lower_builtin, register_model

from workers.engine.compiled import instruction

N_LANES = 8

_DOUBLE = ir.DoubleType()
_LINE = ir.VectorType(_DOUBLE, N_LANES)
_NUMBER_BYTES = 8


class _LanesType(types.Type):
    """numba's type of a line of lanes."""

    def __init__(self) -> None:
        super().__init__(name="lanes")


LANES = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    """A vector of LLVM's."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LINE)  # type: ignore[no-untyped-call]


def _spread(builder: Any, number: Any) -> Any:
    one = builder.insert_element(ir.Constant(_LINE, ir.Undefined), number, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), N_LANES), [0] * N_LANES)
    return builder.shuffle_vector(one, ir.Constant(_LINE, ir.Undefined), places)


def _line(builder: Any, kind: Any, value: Any) -> Any:
    return value if kind is LANES else _spread(builder, value)


def _has_operator(symbol: Callable[..., Any], name: str) -> None:
    """Let numba know the operator between lanes, and between them and a number that all have."""
    pairs = [(LANES, LANES), (LANES, types.float64), (types.float64, LANES)]
    cases = [signature(LANES, *pair) for pair in pairs]
    infer_global(symbol)(type(f"_{name}", (ConcreteTemplate,), {"cases": cases}))

    def write(context: Any, builder: Any, signed: Any, values: Any) -> Any:
        both = [_line(builder, *pair) for pair in zip(signed.args, values, strict=True)]
        return getattr(builder, name)(*both)

    for pair in pairs:
        lower_builtin(symbol, *pair)(write)


for _symbol, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _has_operator(_symbol, _name)


def _pointer(context: Any, builder: Any, kinds: Any, array: Any, at: Any) -> Any:
    kind, like = kinds
    data = context.make_array(kind)(context, builder, value=array).data
    if like is not LANES:
        return builder.gep(data, [at])
    first = builder.gep(data, [builder.mul(at, at.type(N_LANES))])
    return builder.bitcast(first, _LINE.as_pointer())


def _typed_load(typing: Any, array: Any, at: Any, like: Any) -> Any:
    def write(context: Any, builder: Any, signed: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, (array, like), *values[:2])
        loaded = builder.load(pointer)
        loaded.align = _NUMBER_BYTES
        return loaded

    return like(array, types.int64, like), write


def _typed_store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    def write(context: Any, builder: Any, signed: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, (array, value), *values[:2])
        builder.store(values[2], pointer).align = _NUMBER_BYTES
        return context.get_dummy_value()

    return types.void(array, types.int64, value), write


def _typed_lanes(typing: Any, number: Any) -> Any:
    def write(context: Any, builder: Any, signed: Any, values: Any) -> Any:
        return _spread(builder, values[0])

    return LANES(types.float64), write


def _typed_function(name: str) -> Callable[..., Any]:
    """One of LLVM's own functions of a number."""

    def typed(typing: Any, value: Any) -> Any:
        def write(context: Any, builder: Any, signed: Any, values: Any) -> Any:
            kind = values[0].type
            suffix = f"v{N_LANES}f64" if value is LANES else "f64"
            called = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.{suffix}"
            )
            return builder.call(called, values)

        return value(value), write

    return typed


def _typed_at_most(typing: Any, value: Any, bound: Any) -> Any:
    def write(context: Any, builder: Any, signed: Any, values: Any) -> Any:
        both = [_line(builder, *pair) for pair in zip(signed.args, values, strict=True)]
        within = builder.fcmp_ordered("<=", *both)
        bits = builder.bitcast(within, ir.IntType(N_LANES))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 2**N_LANES - 1))

    return types.boolean(value, bound), write


# (array, at, like): the number, or the line of lanes, that is `at` in a flat array of such.
load: Callable[..., Any] = instruction(_typed_load)
# (array, at, value): put it there.
store: Callable[..., None] = instruction(_typed_store)
# (number): the same one in every lane.
lanes_of: Callable[..., Any] = instruction(_typed_lanes)
root: Callable[..., Any] = instruction(_typed_function("sqrt"))
magnitude: Callable[..., Any] = instruction(_typed_function("fabs"))
# (value, bound): whether no lane is above the bound's; what is not a number is.
all_at_most: Callable[..., bool] = instruction(_typed_at_most)
