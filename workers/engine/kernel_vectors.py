"""Instructions on whole vectors of floats, for loops that LLVM would compute one by one.

A vector is a line of the cache: 16 float32 or 8 float64. LLVM makes what the CPU has of it, so
that the same code is fast on wide CPUs and right on all. Places are indices into a flat array of
numbers; a vector may begin anywhere, and reaches past the elements that are asked for: there must
be room for it.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from workers.engine.compiled import instruction

LINE_BYTES = 64

_INDEX = ir.IntType(64)
_PLACE = ir.IntType(32)
_DOUBLE = ir.DoubleType()
_SUM_CHAINS = 4
# What llvm.prefetch calls: a read, to be kept in the second level of the cache, of data.
_READ, _SECOND_LEVEL, _DATA = 0, 2, 1


def block_of_products(n_rows: int, n_vectors: int, n_chains: int) -> Callable[..., None]:
    """An instruction that makes so many rows, and vectors in each, of a matrix product.

    Its arguments are (numbers, (c, a, b), n, fresh), where c = (at, down), a = (at, down, along)
    and b = (at, down) say where the matrices lie: with p a row and l an element of its vectors,
    c[at + p·down + l] += Σₜ a[at + p·down + t·along] · b[at + t·down + l], t < n;
    where `fresh`, without what was in c. A sum is made of `n_chains` side by side, as one alone
    waits for itself at every t.
    """

    def typed(typing: Any, numbers: Any, places: Any, n: Any, fresh: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            vectors = _Vectors(context, builder, numbers, values[0])
            block = _Block(vectors, values[1], n_rows, n_vectors)
            block.write(block.sums(n_chains, values[2]), values[3])
            return context.get_dummy_value()

        return types.void(numbers, places, n, fresh), write

    return instruction(typed)


def sum_of(*, squares: bool) -> Callable[..., float]:
    """An instruction (numbers, n) that sums the first n elements, or their squares, in float64.

    n must be a multiple of a vector's length.
    """

    def typed(typing: Any, numbers: Any, n: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _written_sum(_Vectors(context, builder, numbers, values[0]), values[1], squares)

        return types.float64(numbers, n), write

    return instruction(typed)


def _typed_transpose(typing: Any, target: Any, to: Any, source: Any, of: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _Vectors(context, builder, target, values[0])
        sources = _Vectors(context, builder, source, values[2])
        to_at, to_down = _members(builder, values[1], 2)
        from_at, from_down = _members(builder, values[3], 2)
        rows = [sources.load(sources.place(from_at, from_down, k)) for k in range(sources.n)]
        for k, row in enumerate(_transposed(vectors, rows)):
            vectors.store(row, vectors.place(to_at, to_down, k))
        return context.get_dummy_value()

    return types.void(target, to, source, of), write


def _typed_length(typing: Any, numbers: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _INDEX(8 * LINE_BYTES // numbers.dtype.bitwidth)

    return types.int64(numbers), write


def _typed_copy(typing: Any, target: Any, to_at: Any, source: Any, from_at: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to, of = (
            _Vectors(context, builder, *pair) for pair in ((target, values[0]), (source, values[2]))
        )
        to.store(of.load(values[3]), values[1])
        return context.get_dummy_value()

    return types.void(target, to_at, source, from_at), write


def _typed_spread(typing: Any, numbers: Any, to_at: Any, from_at: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _Vectors(context, builder, numbers, values[0])
        vectors.store(vectors.spread(values[2]), values[1])
        return context.get_dummy_value()

    return types.void(numbers, to_at, from_at), write


def _typed_fetch(typing: Any, numbers: Any, index: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _Vectors(context, builder, numbers, values[0]).bytes_at(values[1])
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _PLACE, _PLACE, _PLACE])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, _PLACE(_READ), _PLACE(_SECOND_LEVEL), _PLACE(_DATA)])
        return context.get_dummy_value()

    return types.void(numbers, index), write


# (numbers): how many of them a vector has. An array's own `itemsize` would be divided by each time.
vector_length: Callable[..., int] = instruction(_typed_length)
# (target, (to_at, to_down), source, (from_at, from_down)): a square of a vector's length goes to
# the other array, transposed.
transpose_square: Callable[..., None] = instruction(_typed_transpose)
# (target, to_at, source, from_at): a vector of one array goes to the other.
copy_vector: Callable[..., None] = instruction(_typed_copy)
# (numbers, to_at, from_at): one number goes to every place of a vector.
spread_number: Callable[..., None] = instruction(_typed_spread)
# (numbers, index): ask memory for the element's line, without waiting for it.
fetch_line: Callable[..., None] = instruction(_typed_fetch)


class _Vectors:
    """Writes operations on the vectors of an array into a function."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any) -> None:
        bits = array_type.dtype.bitwidth
        self.builder = builder
        self.n = 8 * LINE_BYTES // bits
        self.type = ir.VectorType(context.get_value_type(array_type.dtype), self.n)
        self.wide = ir.VectorType(_DOUBLE, self.n)
        self.zero = ir.Constant(self.type, None)
        self._item_bytes = bits // 8
        self._data = context.make_array(array_type)(context, builder, value=array).data
        self._multiply_add = f"llvm.fmuladd.v{self.n}f{bits}"

    def place(self, at: Any, step: Any, times: int) -> Any:
        """The index at + step·times."""
        return self.builder.add(at, self.builder.mul(step, _INDEX(times)))

    def load(self, index: Any) -> Any:
        """The vector that begins at the element."""
        loaded = self.builder.load(self._pointer(index))
        loaded.align = self._item_bytes
        return loaded

    def store(self, vector: Any, index: Any) -> None:
        """Write the vector from the element on."""
        self.builder.store(vector, self._pointer(index)).align = self._item_bytes

    def _pointer(self, index: Any) -> Any:
        return self.builder.bitcast(self._element(index), self.type.as_pointer())

    def bytes_at(self, index: Any) -> Any:
        """A pointer to the element, as LLVM's instructions on memory take it."""
        return self.builder.bitcast(self._element(index), ir.IntType(8).as_pointer())

    def _element(self, index: Any) -> Any:
        return self.builder.gep(self._data, [index])

    def spread(self, index: Any) -> Any:
        """The element, in every place of a vector."""
        undefined = ir.Constant(self.type, ir.Undefined)
        element = self.builder.load(self._element(index))
        first = self.builder.insert_element(undefined, element, _PLACE(0))
        everywhere = ir.Constant(ir.VectorType(_PLACE, self.n), None)
        return self.builder.shuffle_vector(first, undefined, everywhere)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a·b + c, rounded once where the CPU can."""
        kind = ir.FunctionType(self.type, [self.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, self._multiply_add)
        return self.builder.call(function, [a, b, c])

    def widened(self, vector: Any) -> Any:
        """The vector in float64."""
        return vector if self.type == self.wide else self.builder.fpext(vector, self.wide)


Values = list[Any]


def _looped(
    builder: Any,
    bounds: tuple[Any, Any, int],
    values: Values,
    advance: Callable[[Any, Values], Values],
) -> Values:
    """For t in range(*bounds): values = advance(t, values)."""
    start, stop, step = bounds
    before = builder.block
    head, body, done = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    t, *current = [builder.phi(kind) for kind in (_INDEX, *(value.type for value in values))]
    for phi, value in zip((t, *current), (start, *values), strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", t, stop), body, done)
    builder.position_at_end(body)
    following = (builder.add(t, _INDEX(step)), *advance(t, current))
    for phi, value in zip((t, *current), following, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return current


def _whole(builder: Any, n: Any, step: int) -> Any:
    """The largest multiple of `step` that is at most n."""
    return builder.sub(n, builder.srem(n, _INDEX(step)))


def _added_up(builder: Any, chains: Sequence[Values]) -> Values:
    """The sum of a power of 2 of chains, by halves."""
    while len(chains) > 1:
        half = len(chains) // 2
        pairs = zip(chains[:half], chains[half:], strict=True)
        chains = [[builder.fadd(*two) for two in zip(*pair, strict=True)] for pair in pairs]
    return chains[0]


def _members(builder: Any, places: Any, n: int) -> Values:
    return [builder.extract_value(places, k) for k in range(n)]


class _Block:
    """Writes a block of a matrix product into a function."""

    def __init__(self, vectors: _Vectors, places: Any, n_rows: int, n_vectors: int) -> None:
        self._vectors = vectors
        self._builder = vectors.builder
        c, a, b = _members(self._builder, places, 3)
        self._c = _members(self._builder, c, 2)
        self._a = _members(self._builder, a, 3)
        self._b = _members(self._builder, b, 2)
        self._n_rows = n_rows
        self._n_vectors = n_vectors

    def sums(self, n_chains: int, n: Any) -> Values:
        """Σₜ of the products, row by row."""
        builder, width = self._builder, self._n_rows * self._n_vectors
        zeros = [self._vectors.zero] * (width * n_chains)
        whole = _whole(builder, n, n_chains)
        values = _looped(builder, (_INDEX(0), whole, n_chains), zeros, self._add)
        chains = [values[k : k + width] for k in range(0, len(values), width)]
        # What is left of n goes to the first chain.
        chains[0] = _looped(builder, (whole, n, 1), chains[0], self._add)
        return _added_up(builder, chains)

    def _add(self, t: Any, sums: Values) -> Values:
        """The sums of each chain in turn, with the products of t, t + 1, …"""
        width = self._n_rows * self._n_vectors
        times = range(len(sums) // width)
        products = [self._products(self._builder.add(t, _INDEX(k))) for k in times]
        added = zip(chain.from_iterable(products), sums, strict=True)
        return [self._vectors.multiply_add(*factors, total) for factors, total in added]

    def _products(self, t: Any) -> list[tuple[Any, Any]]:
        """The two factors of each product of t, row by row."""
        builder, vectors = self._builder, self._vectors
        a_at, a_down, a_along = self._a
        b_at, b_down = self._b
        right = builder.add(b_at, builder.mul(t, b_down))
        left = builder.add(a_at, builder.mul(t, a_along))
        length = _INDEX(vectors.n)
        seconds = [vectors.load(vectors.place(right, length, q)) for q in range(self._n_vectors)]
        firsts = [vectors.spread(vectors.place(left, a_down, p)) for p in range(self._n_rows)]
        return [(first, second) for first in firsts for second in seconds]

    def write(self, sums: Values, fresh: Any) -> None:
        """Add the sums to c, or put them there."""
        builder, vectors = self._builder, self._vectors
        at, down = self._c
        for k, total in enumerate(sums):
            p, q = divmod(k, self._n_vectors)
            place = vectors.place(vectors.place(at, down, p), _INDEX(vectors.n), q)
            before = builder.select(fresh, vectors.zero, vectors.load(place))
            vectors.store(builder.fadd(before, total), place)


def _written_sum(vectors: _Vectors, n: Any, squares: bool) -> Any:
    builder = vectors.builder
    length = vectors.n

    def add(t: Any, sums: Values) -> Values:
        loaded = [
            vectors.widened(vectors.load(vectors.place(t, _INDEX(length), k)))
            for k in range(len(sums))
        ]
        terms = [builder.fmul(one, one) if squares else one for one in loaded]
        return [builder.fadd(*two) for two in zip(sums, terms, strict=True)]

    zeros = [ir.Constant(vectors.wide, None)] * _SUM_CHAINS
    whole = _whole(builder, n, _SUM_CHAINS * length)
    sums = _looped(builder, (_INDEX(0), whole, _SUM_CHAINS * length), zeros, add)
    sums[:1] = _looped(builder, (whole, n, length), sums[:1], add)
    (total,) = _added_up(builder, [[one] for one in sums])
    elements = [builder.extract_element(total, _PLACE(k)) for k in range(length)]
    return _added_up(builder, [[element] for element in elements])[0]


def _transposed(vectors: _Vectors, rows: Values) -> Values:
    """As many vectors as each has elements, by J. O. Eklundh's exchanges (1972)."""
    n, step = vectors.n, 1
    while step < n:
        upper = [n + c - step if c & step else c for c in range(n)]
        lower = [n + c if c & step else c + step for c in range(n)]
        exchanged = list(rows)
        for i in (i for i in range(n) if not i & step):
            for k, places in ((i, upper), (i + step, lower)):
                mask = ir.Constant(ir.VectorType(_PLACE, n), places)
                exchanged[k] = vectors.builder.shuffle_vector(rows[i], rows[i + step], mask)
        rows, step = exchanged, 2 * step
    return rows
