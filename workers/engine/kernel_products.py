"""Sums, transposes and matrix products of numbers in one flat array.

Where a matrix lies is told by indices: that of its first element, and how far apart its rows, and
the elements of a row, are.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import inlined, internal
from workers.engine.kernel_vectors import (
    block_of_products,
    sum_of,
    transpose_square,
    vector_length,
)

Numbers = NDArray[np.floating[Any]]
Place = tuple[int, int]

_SUM = sum_of(squares=False)
_SUM_SQUARES = sum_of(squares=True)
# As many rows at once as there are registers for, and what is left by fewer.
_MANY, _SOME = 8, 4
_MANY_BY_2, _MANY_BY_1 = block_of_products(_MANY, 2, 1), block_of_products(_MANY, 1, 1)
_SOME_BY_2, _SOME_BY_1 = block_of_products(_SOME, 2, 1), block_of_products(_SOME, 1, 2)
_ONE_BY_2, _ONE_BY_1 = block_of_products(1, 2, 4), block_of_products(1, 1, 8)


class Product(NamedTuple):
    """Where the matrices of c += a·b lie: c (p, r), a (p, t), b (t, r), and the size (p, t, r).

    c and b are the places of the first element and how far apart the rows are; a's third is how
    far apart the elements of its rows are. Rows of c and b are read, and those of c written, to
    the end of the last vector.
    """

    c: Place
    a: tuple[int, int, int]
    b: Place
    size: tuple[int, int, int]


@internal
def add_product(numbers: Numbers, product: Product, fresh: bool) -> None:
    """c += a·b; or c = a·b where `fresh`."""
    c, a, b = product.c, product.a, product.b
    n_rows, n_terms, n_columns = product.size
    length = vector_length(numbers)
    for column in range(0, n_columns, 2 * length):
        right = (b[0] + column, b[1])
        two = column + length < n_columns
        row = 0
        while row < n_rows:
            target = (c[0] + row * c[1] + column, c[1])
            left = (a[0] + row * a[1], a[1], a[2])
            block = (target, left, right)
            if row + _MANY <= n_rows:
                if two:
                    _MANY_BY_2(numbers, block, n_terms, fresh)
                else:
                    _MANY_BY_1(numbers, block, n_terms, fresh)
                row += _MANY
            elif row + _SOME <= n_rows:
                if two:
                    _SOME_BY_2(numbers, block, n_terms, fresh)
                else:
                    _SOME_BY_1(numbers, block, n_terms, fresh)
                row += _SOME
            else:
                if two:
                    _ONE_BY_2(numbers, block, n_terms, fresh)
                else:
                    _ONE_BY_1(numbers, block, n_terms, fresh)
                row += 1


@internal
def transpose(
    numbers: Numbers, target: Place, others: Numbers, source: Place, size: tuple[int, int]
) -> None:
    """target (q, p) = the transpose of others' source (p, q); the size (p, q) is whole vectors'."""
    length = vector_length(numbers)
    for row in range(0, size[0], length):
        for column in range(0, size[1], length):
            to = (target[0] + column * target[1] + row, target[1])
            transpose_square(numbers, to, others, (source[0] + row * source[1] + column, source[1]))


@inlined
def total(numbers: Numbers) -> float:
    """The sum, in float64."""
    whole = len(numbers) - len(numbers) % vector_length(numbers)
    summed = _SUM(numbers, whole)
    for i in range(whole, len(numbers)):
        summed += numbers[i]
    return summed


@inlined
def total_of_squares(numbers: Numbers) -> float:
    """The sum of the squares, in float64."""
    whole = len(numbers) - len(numbers) % vector_length(numbers)
    summed = _SUM_SQUARES(numbers, whole)
    for i in range(whole, len(numbers)):
        summed += np.float64(numbers[i]) * np.float64(numbers[i])
    return summed
