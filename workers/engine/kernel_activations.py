"""Activations of a layer's numbers, with their derivatives."""

import math
from typing import NamedTuple

import numpy as np

from workers.engine.compiled import inlined, internal
from workers.engine.kernel_codes import ACTIVATION_CODES
from workers.engine.kernel_functions import exponential, log_plus_one, split_exponential
from workers.engine.kernel_products import Numbers

_RELU = ACTIVATION_CODES["relu"]
_LEAKY_RELU = ACTIVATION_CODES["leaky_relu"]
_TANH = ACTIVATION_CODES["tanh"]
_SIGMOID = ACTIVATION_CODES["sigmoid"]
_SILU = ACTIVATION_CODES["silu"]
_GELU = ACTIVATION_CODES["gelu"]
_SOFTPLUS = ACTIVATION_CODES["softplus"]

_ROOT_HALF = math.sqrt(0.5)
_NORMAL_PEAK = 1.0 / math.sqrt(2.0 * math.pi)
_LEAK = 0.01
# From here on torch's softplus is the identity.
_LINEAR_FROM = 20.0


class Span(NamedTuple):
    """Some rows of numbers, and where their derivatives go; `n` of each row's `step` count."""

    at: int
    slopes_at: int
    n_rows: int
    n: int
    step: int


@inlined
def activate(kind: int, numbers: Numbers, span: Span) -> None:
    """Put the activations in the place of the numbers, and their derivatives beside them.

    torch's definitions, at edges too: 0 has no slope under `relu`, and a leak's under
    `leaky_relu`.
    """
    n_rows, n = span.n_rows, span.n
    if n == span.step:
        n_rows, n = 1, n * n_rows
    for row in range(n_rows):
        at = span.at + row * span.step
        slopes_at = span.slopes_at + row * span.step
        values, slopes = numbers[at : at + n], numbers[slopes_at : slopes_at + n]
        if kind == _RELU:
            _relu(values, slopes)
        elif kind == _TANH:
            _tanh(values, slopes)
        elif kind == _SIGMOID:
            _sigmoid(values, slopes)
        elif kind == _GELU:
            _gelu(values, slopes)
        elif kind == _SILU:
            _silu(values, slopes)
        elif kind == _LEAKY_RELU:
            _leaky_relu(values, slopes)
        elif kind == _SOFTPLUS:
            _softplus(values, slopes)
        else:
            _identity(slopes)


@internal
def _identity(slopes: Numbers) -> None:
    for i in range(len(slopes)):
        slopes[i] = 1.0


@internal
def _relu(values: Numbers, slopes: Numbers) -> None:
    zero, one = values.dtype.type(0.0), values.dtype.type(1.0)
    for i in range(len(values)):
        z = values[i]
        # What is not a number stays none.
        values[i] = zero if z <= zero else z
        slopes[i] = zero if z <= zero else one


@internal
def _leaky_relu(values: Numbers, slopes: Numbers) -> None:
    zero, one, leak = values.dtype.type(0.0), values.dtype.type(1.0), values.dtype.type(_LEAK)
    for i in range(len(values)):
        z = values[i]
        values[i] = z if z > zero else leak * z
        slopes[i] = one if z > zero else leak


@internal
def _tanh(values: Numbers, slopes: Numbers) -> None:
    one, two = values.dtype.type(1.0), values.dtype.type(2.0)
    for i in range(len(values)):
        z = values[i]
        half, rest = split_exponential(-two * abs(z))
        less_one = two * half * rest + (two * half - one)
        size = -less_one / (less_one + two)
        values[i] = size if z > values.dtype.type(0.0) else -size
        slopes[i] = one - size * size


@internal
def _sigmoid(values: Numbers, slopes: Numbers) -> None:
    one = values.dtype.type(1.0)
    for i in range(len(values)):
        value = one / (one + exponential(-values[i]))
        values[i] = value
        slopes[i] = (one - value) * value


@internal
def _silu(values: Numbers, slopes: Numbers) -> None:
    one = values.dtype.type(1.0)
    for i in range(len(values)):
        z = values[i]
        share = one / (one + exponential(-z))
        values[i] = z * share
        slopes[i] = share * (one + z * (one - share))


@internal
def _gelu(values: Numbers, slopes: Numbers) -> None:
    for i in range(len(values)):
        z = np.float64(values[i])
        below = 0.5 + 0.5 * math.erf(z * _ROOT_HALF)
        values[i] = z * below
        slopes[i] = below + z * _NORMAL_PEAK * exponential(-0.5 * z * z)


@internal
def _softplus(values: Numbers, slopes: Numbers) -> None:
    for i in range(len(values)):
        z = np.float64(values[i])
        power = exponential(-abs(z))
        share = 1.0 / (1.0 + power)
        curved = max(z, 0.0) + log_plus_one(power)
        values[i] = z if z > _LINEAR_FROM else curved
        slopes[i] = 1.0 if z > _LINEAR_FROM else (share if z > 0.0 else 1.0 - share)
