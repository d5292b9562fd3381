"""exp, log, sin and cos with the same bits on every machine.

A platform's own functions differ in their last bits. These are made of operations that IEEE 754
rounds exactly (+, −, ×, ÷, and scaling by powers of two), each a numpy call of its own so that
none is fused with the next. They are within 2 units in the last place of the true values.
"""

import math

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
# π/2 in three parts, the first two of 33 bits: multiples of them up to 2²⁰ are exact.
_HALF_PI_1 = float.fromhex("0x1.921fb54400000p+0")
_HALF_PI_2 = float.fromhex("0x1.0b4611a600000p-34")
_HALF_PI_3 = float.fromhex("0x1.3198a2e037073p-69")
_TWO_OVER_PI = float.fromhex("0x1.45f306dc9c883p-1")
LARGEST_ANGLE = 1.5e6

# 1/(2k+1), the series of artanh, for k = 1, 2, ….
_ARTANH = [1 / (2 * k + 1) for k in range(1, 13)]
# The Taylor coefficients of exp(x).
_EXP = [1 / math.factorial(k) for k in range(14)]
# The Taylor coefficients of sin(x)/x - 1 and cos(x) - 1, in x².
_SIN = [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800,
        -1 / 1307674368000, 1 / 355687428096000]  # fmt: skip
_COS = [-1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600,
        -1 / 87178291200, 1 / 20922789888000]  # fmt: skip


def exp(x: Float64Array) -> Float64Array:
    """e to the power of numbers, (n,), from −700 to 700.

    x = k·log 2 + r with r near 0, and eʳ by its series.
    """
    k = np.rint(x * (1 / _LN2_HIGH))
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total: Float64Array = np.ldexp(_polynomial(_EXP, r), k.astype(np.int64))
    return total


def log(x: Float64Array) -> Float64Array:
    """The natural logarithm of positive finite numbers, (n,).

    x = m·2ᵉ with m near 1, and log m = 2·artanh((m − 1)/(m + 1)) by its series.
    """
    m, e = np.frexp(x)
    small = m < _SQRT_HALF
    m = np.where(small, m * 2, m)
    e = (e - small).astype(np.float64)
    f = m - 1
    s = f / (m + 1)
    squares = s * s
    # log(1+f) = f − s·(f − R): the large part is f itself, which is exact.
    rest = squares * _polynomial(_ARTANH, squares) * 2
    total: Float64Array = e * _LN2_HIGH + (f - (s * (f - rest) - e * _LN2_LOW))
    return total


def sin(x: Float64Array) -> Float64Array:
    """The sine of angles in radians, (n,), up to `LARGEST_ANGLE` from 0."""
    return _turned(x, 0)


def cos(x: Float64Array) -> Float64Array:
    """The cosine of angles in radians, (n,), up to `LARGEST_ANGLE` from 0."""
    return _turned(x, 1)


def _turned(x: Float64Array, quarters: int) -> Float64Array:
    """The sine of x and so many quarter turns, by Cody and Waite's reduction."""
    turns = np.rint(x * _TWO_OVER_PI)
    high = (x - turns * _HALF_PI_1) - turns * _HALF_PI_2
    low = turns * _HALF_PI_3
    r = high - low
    # What rounding r has lost.
    lost = (high - r) - low
    squares = r * r
    sine = r + (r * (squares * _polynomial(_SIN, squares)) + lost)
    half = squares * 0.5
    whole = 1 - half
    fourth = squares * squares * _polynomial(_COS[1:], squares)
    cosine = whole + (((1 - whole) - half) + (fourth - r * lost))
    quadrant = (turns.astype(np.int64) + quarters) % 4
    return np.where(quadrant % 2 == 0, sine, cosine) * np.where(quadrant >= 2, -1.0, 1.0)  # noqa: PLR2004


def _polynomial(coefficients: list[float], x: Float64Array) -> Float64Array:
    """c₀ + c₁·x + c₂·x² + …, by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
