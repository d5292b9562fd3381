"""Layers of a network, forwards and backwards, for the rows of one tile.

A tile holds its numbers a column a row: each feature's, or neuron's, stand side by side for all of
the tile's rows, so that a vector is several rows. All numbers of a fit lie in one flat array.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import inlined
from workers.engine.kernel_activations import Span, activate
from workers.engine.kernel_codes import ACTIVATION_CODES
from workers.engine.kernel_products import Numbers, Product, add_product, total, transpose
from workers.engine.kernel_vectors import copy_vector, spread_number, vector_length

Places = NDArray[np.int64]

_IDENTITY = ACTIVATION_CODES["identity"]
_RELU = ACTIVATION_CODES["relu"]


class Plan(NamedTuple):
    """The layers, and where each one's numbers lie; a tile's columns are `step` long.

    widths (l + 1,): the features, and how many numbers come out of each layer. values_at and
    slopes_at (l + 1,): what goes into the first layer and comes out of each, and the loss's
    derivatives by what comes out before its activation. weights_at and biases_at (l,): a layer's
    weight (n_out, n_in), and its bias (n_out,) or -1 for none, among the parameters, and likewise
    in the gradient.
    products_at (l,) is the room for a layer's gradient, its weight's with rows `across_step` apart
    and then its bias's; pull_at for derivatives of one layer, across_at for its inputs by rows.
    """

    widths: Places
    values_at: Places
    slopes_at: Places
    weights_at: Places
    biases_at: Places
    products_at: Places
    parameters_at: int
    gradient_at: int
    n_parameters: int
    pull_at: int
    across_at: int
    across_step: int
    step: int
    activation: int
    output: int


@inlined
def vectors_of(numbers: Numbers, n: int) -> int:
    """n, or so much more that vectors are whole."""
    length = vector_length(numbers)
    return (n + length - 1) // length * length


@inlined
def forward(plan: Plan, numbers: Numbers, columns_at: int, n: int) -> None:
    """Compute the predictions of n rows, whose features' columns begin at `columns_at`."""
    n_layers = len(plan.weights_at)
    rounded = vectors_of(numbers, n)
    for layer in range(n_layers):
        n_in, n_out = plan.widths[layer], plan.widths[layer + 1]
        at = plan.values_at[layer + 1]
        has_bias = plan.biases_at[layer] >= 0
        if has_bias:
            _spread_biases(plan, numbers, layer, rounded)
        product = Product(
            (at, plan.step),
            (plan.parameters_at + plan.weights_at[layer], n_in, 1),
            (plan.values_at[layer] if layer else columns_at, plan.step),
            (n_out, n_in, n),
        )
        add_product(numbers, product, not has_bias)
        last = layer + 1 == n_layers
        kind = plan.output if last else plan.activation
        if not (last and kind == _IDENTITY):
            span = Span(at, plan.slopes_at[layer + 1], n_out, rounded, plan.step)
            activate(kind, numbers, span)


@inlined
def _spread_biases(plan: Plan, numbers: Numbers, layer: int, rounded: int) -> None:
    length = vector_length(numbers)
    biases_at = plan.parameters_at + plan.biases_at[layer]
    for k in range(plan.widths[layer + 1]):
        at = plan.values_at[layer + 1] + k * plan.step
        for i in range(0, rounded, length):
            spread_number(numbers, at + i, biases_at + k)


@inlined
def backward(plan: Plan, numbers: Numbers, rows: tuple[int, int], n: int, fresh: bool) -> None:
    """Add n rows' part of the gradient to the products; where `fresh`, put it there.

    `rows` is where the first one's features begin, and how far apart the rows are. The loss's
    derivatives by the predictions are in the slopes, or in the pull where the predictions come
    out of an activation.
    """
    n_layers = len(plan.weights_at)
    rounded = vectors_of(numbers, n)
    if plan.output != _IDENTITY:
        _pull_slopes(plan, numbers, n_layers, rounded)
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = plan.widths[layer], plan.widths[layer + 1]
        slopes = (plan.slopes_at[layer + 1], plan.step)
        inputs = rows
        if layer:
            inputs = (plan.across_at, plan.across_step)
            size = (vectors_of(numbers, n_in), rounded)
            transpose(numbers, inputs, numbers, (plan.values_at[layer], plan.step), size)
        products = (plan.products_at[layer], plan.across_step)
        left = (slopes[0], slopes[1], 1)
        add_product(numbers, Product(products, left, inputs, (n_out, n, n_in)), fresh)
        if plan.biases_at[layer] >= 0:
            _sum_slopes(plan, numbers, layer, n, fresh)
        if layer:
            weights = (plan.parameters_at + plan.weights_at[layer], 1, n_in)
            # Not a bare True, for which numba compiles the product anew.
            always = layer > 0
            pull = (plan.pull_at, plan.step)
            add_product(numbers, Product(pull, weights, slopes, (n_in, n_out, n)), always)
            _pull_slopes(plan, numbers, layer, rounded)


@inlined
def _pull_slopes(plan: Plan, numbers: Numbers, layer: int, rounded: int) -> None:
    """Multiply the slopes of what comes out of so many layers by the pull."""
    n_rows, n = plan.widths[layer], rounded
    if n == plan.step:
        n_rows, n = 1, n_rows * n
    # No pull, however large, moves what does not let it through.
    is_gate = layer < len(plan.weights_at) and plan.activation == _RELU
    for row in range(n_rows):
        at, pull_at = plan.slopes_at[layer] + row * plan.step, plan.pull_at + row * plan.step
        slopes, pull = numbers[at : at + n], numbers[pull_at : pull_at + n]
        for i in range(n):
            pulled = slopes[i] * pull[i]
            slopes[i] = slopes[i] if is_gate and slopes[i] == 0 else pulled


@inlined
def _sum_slopes(plan: Plan, numbers: Numbers, layer: int, n: int, fresh: bool) -> None:
    n_out = plan.widths[layer + 1]
    sums_at = plan.products_at[layer] + n_out * plan.across_step
    for k in range(n_out):
        at = plan.slopes_at[layer + 1] + k * plan.step
        summed = total(numbers[at : at + n])
        numbers[sums_at + k] = summed if fresh else numbers[sums_at + k] + summed


@inlined
def gather_gradient(plan: Plan, numbers: Numbers) -> None:
    """Lay the products' rows one after the other, as the parameters lie.

    What a vector has too much goes where the next row, or layer, comes.
    """
    for layer in range(len(plan.weights_at)):
        n_in, n_out = plan.widths[layer], plan.widths[layer + 1]
        at, products_at = plan.gradient_at + plan.weights_at[layer], plan.products_at[layer]
        for k in range(n_out):
            _copy(numbers, at + k * n_in, products_at + k * plan.across_step, n_in)
        if plan.biases_at[layer] >= 0:
            sums_at = products_at + n_out * plan.across_step
            _copy(numbers, plan.gradient_at + plan.biases_at[layer], sums_at, n_out)


@inlined
def _copy(numbers: Numbers, to_at: int, from_at: int, n: int) -> None:
    for i in range(0, n, vector_length(numbers)):
        copy_vector(numbers, to_at + i, numbers, from_at + i)
