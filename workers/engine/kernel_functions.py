"""Elementary functions that LLVM computes for a whole vector at once.

The C library's take one number at a time. These are right to a few units in the last place, but
for results about the smallest normal number and below; what is not a number stays none. Their
series are Taylor's.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from workers.engine.compiled import inlined, instruction

Float = np.floating[Any]

# Once this is added, a number is whole, and its last bits count: half the precision's numbers.
_WHOLE = 1.5 * 2.0**52
_WHOLE_32 = np.float32(1.5 * 2.0**23)
_PER_LOG_2 = 1.0 / math.log(2.0)
_PER_LOG_2_32 = np.float32(_PER_LOG_2)
# log 2 as a short number, whose multiples are exact, and the rest.
_LOG_2 = float.fromhex("0x1.62e42feep-1")
_LOG_2_REST = float.fromhex("0x1.a39ef35793c76p-33")
_LOG_2_32 = np.float32(float.fromhex("0x1.62e4p-1"))
_LOG_2_REST_32 = np.float32(float.fromhex("0x1.7f7d1cp-20"))
# Past the first the exponential is infinite, at the second half of its power of 2 is normal yet.
_MOST, _LEAST = 709.79, -707.9
_MOST_32, _LEAST_32 = np.float32(88.73), np.float32(-86.9)

_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1.0 / math.factorial(n) for n in range(2, 14)
)
_D2, _D3, _D4, _D5, _D6, _D7 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 8))
# log x = 2·artanh((x - 1)/(x + 1)), a series in odd powers: from (√½, √2) these are enough, …
_A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8, _A9, _A10, _A11 = (1.0 / (2 * n + 1) for n in range(1, 12))
# … from (1, 2) these too.
_A12, _A13, _A14, _A15, _A16, _A17 = (1.0 / (2 * n + 1) for n in range(12, 18))
_ROOT_HALF_BITS = int(np.float64(math.sqrt(0.5)).view(np.int64))


def _typed_bits(typing: Any, number: Any) -> Any:
    return _typed_cast(types.int64 if number == types.float64 else types.int32, number)


def _typed_number(typing: Any, bits: Any) -> Any:
    return _typed_cast(types.float64 if bits == types.int64 else types.float32, bits)


def _typed_cast(kind: Any, value: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(kind))

    return kind(value), write


# A number's bits as a whole number, and back: numpy's `view` takes numba a second to compile.
bits_of: Callable[..., Any] = instruction(_typed_bits)
number_of: Callable[..., Any] = instruction(_typed_number)


@inlined
def log_plus_one(x: Float) -> Float:
    """log(1 + x) for x from 0 to 1."""
    s = x / (2.0 + x)
    z = s * s
    high = _A12 + z * (_A13 + z * (_A14 + z * (_A15 + z * (_A16 + z * _A17))))
    return 2.0 * s * (1.0 + z * (_low_odd_powers(z) + z**11 * high))


@inlined
def log_of_one_or_more(x: Float) -> Any:
    """log x for x of 1 or more, at most half of the largest number."""
    bits = bits_of(np.float64(x))
    k = (bits - _ROOT_HALF_BITS) >> 52
    rest = number_of(np.int64(bits - (k << 52)))
    s = (rest - 1.0) / (rest + 1.0)
    z = s * s
    log = 2.0 * s * (1.0 + z * _low_odd_powers(z))
    # The last difference is 0, but of what is not a number.
    return k * _LOG_2 + (k * _LOG_2_REST + log) + (x - x)


@inlined
def _low_odd_powers(z: Float) -> Float:
    low = _A1 + z * (_A2 + z * (_A3 + z * (_A4 + z * (_A5 + z * _A6))))
    return low + z**6 * (_A7 + z * (_A8 + z * (_A9 + z * (_A10 + z * _A11))))


@inlined
def exponential(x: Float) -> Any:
    """eˣ in the precision of x."""
    half, rest = split_exponential(x)
    half_power = half + half * rest
    return half_power + half_power


def split_exponential(x: Any) -> tuple[Any, Any]:
    """eˣ = 2ᵏ·(1 + t) → 2ᵏ⁻¹, as 2ᵏ may have no number, and t, |t| below a half, as x is."""
    raise NotImplementedError("for compiled loops")


def _split_64(x: Any) -> tuple[Any, Any]:
    bounded = _MOST if x > _MOST else (_LEAST if x < _LEAST else x)
    shifted = bounded * _PER_LOG_2 + _WHOLE
    k = shifted - _WHOLE
    r = bounded - k * _LOG_2 - k * _LOG_2_REST
    even = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * (_C7 + r * _C8)))))
    rest = _C9 + r * (_C10 + r * (_C11 + r * (_C12 + r * _C13)))
    r2 = r * r
    r4 = r2 * r2
    half = number_of(np.int64((bits_of(np.float64(shifted)) + 1022) << 52))
    return half, r + r2 * (even + r4 * r2 * (r * rest))


def _split_32(x: Any) -> tuple[Any, Any]:
    bounded = _MOST_32 if x > _MOST_32 else (_LEAST_32 if x < _LEAST_32 else x)
    shifted = bounded * _PER_LOG_2_32 + _WHOLE_32
    k = shifted - _WHOLE_32
    r = bounded - k * _LOG_2_32 - k * _LOG_2_REST_32
    series = _D2 + r * (_D3 + r * (_D4 + r * (_D5 + r * (_D6 + r * _D7))))
    half = number_of(np.int32((bits_of(np.float32(shifted)) + 126) << 23))
    return half, r + r * r * series


def _typed_split(x: Any) -> Callable[..., tuple[Any, Any]]:
    return _split_32 if x == types.float32 else _split_64


overload(split_exponential, inline="always")(_typed_split)
