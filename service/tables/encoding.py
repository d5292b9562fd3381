"""How a table's columns become a model's features."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice, product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# A term of a polynomial: the numbers of the features that are multiplied, ascending.
Term = tuple[int, ...]


@dataclass(frozen=True)
class Feature:
    """One of a table's features: a number column, or a category's indicator (1 or 0)."""

    column: str
    category: str | None = None

    @property
    def label(self) -> str:
        """The name under which its coefficient is shown."""
        return self.column if self.category is None else f"{self.column}={self.category}"


@dataclass(frozen=True)
class Encoding:
    """A model's features: a table's own, or the `terms` of a polynomial in them."""

    features: tuple[Feature, ...]
    terms: tuple[Term, ...] | None = None

    def __len__(self) -> int:
        return len(self.features if self.terms is None else self.terms)

    @cached_property
    def labels(self) -> list[str]:
        """The names under which the coefficients are shown: `x`, `colour=red`, `x^2*z`."""
        names = [feature.label for feature in self.features]
        if self.terms is None:
            return names
        return ["*".join(_power(names[i], len([*same])) for i, same in groupby(term))
                for term in self.terms]  # fmt: skip

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys(feature.column for feature in self.features))

    def matrix(self, block: pa.RecordBatch) -> NDArray[np.float64]:
        """The block's features side by side, (m, len(self)) float64, C order."""
        base = matrix(block, self.features)
        if self.terms is None:
            return base
        made = np.empty((len(base), len(self.terms)))
        for i, (first, *others) in enumerate(self.terms):
            made[:, i] = base[:, first]
            for j in others:
                made[:, i] *= base[:, j]
        return made


def encode(
    names: Sequence[str], columns: Sequence[Mapping[str, Any]], model: Mapping[str, Any]
) -> Encoding:
    """The features that the named columns make for the model of a spec, in their order.

    A category is one-hot encoded: an indicator for every one of its texts, sorted. A polynomial's
    terms come by degree, and within one in lexicographic order. `columns` are the dataset's own
    summaries.
    """
    features = base_features(names, columns)
    if model["kind"] != "polynomial":
        return Encoding(features)
    found = terms(features, model["degree"], interactions=model["interactions"])
    return Encoding(features, tuple(found))


def base_features(
    names: Sequence[str], columns: Sequence[Mapping[str, Any]]
) -> tuple[Feature, ...]:
    """The named columns as features: numbers, and categories' indicators."""
    by_name = {column["name"]: column for column in columns}
    return tuple(
        Feature(name, category)
        for name in names
        for category in by_name[name].get("categories", (None,))
    )


def terms(features: Sequence[Feature], degree: int, *, interactions: bool) -> Iterator[Term]:
    """The terms of degree 1 to `degree`, as sklearn's PolynomialFeatures orders them.

    Without `interactions` the powers of each feature alone. An indicator's powers are itself, and
    its product with another one of its column is 0: neither is a term.
    """
    if not interactions:
        for n, i in product(range(1, degree + 1), range(len(features))):
            if n == 1 or features[i].category is None:
                yield (i,) * n
        return
    follow = _first_after_each(features)
    room = _room_from_each(features)
    for n in range(1, degree + 1):
        yield from _products(follow, room, (), n)


def _products(
    follow: Sequence[int], room: Sequence[float], begun: Term, n_more: int
) -> Iterator[Term]:
    """The terms that begin so and have `n_more` factors more."""
    if n_more == 0:
        yield begun
        return
    first = follow[begun[-1]] if begun else 0
    # What cannot be finished is not begun: categories of many texts would have millions of those.
    if room[first] < n_more:
        return
    for i in range(first, len(follow)):
        yield from _products(follow, room, (*begun, i), n_more - 1)


def _first_after_each(features: Sequence[Feature]) -> list[int]:
    """The first feature that may follow each one in a term: itself, or the next column's."""
    follow: list[int] = []
    for _, group in groupby(features, key=lambda feature: feature.column):
        column = list(group)
        end = len(follow) + len(column)
        follow += [len(follow)] if column[0].category is None else [end] * len(column)
    return follow


def _room_from_each(features: Sequence[Feature]) -> list[float]:
    """The most factors of a term that takes none before each feature; after the last it is 0."""
    room: list[float] = [0]
    for i in reversed(range(len(features))):
        new = i + 1 == len(features) or features[i].column != features[i + 1].column
        room.append(math.inf if features[i].category is None else room[-1] + new)
    return room[::-1]


def has_more_terms(
    features: Sequence[Feature], degree: int, most: int, *, interactions: bool
) -> bool:
    """Whether there are more than `most` terms; they are not all made to see it."""
    if len(features) > most:
        return True
    found = terms(features, degree, interactions=interactions)
    return next(islice(found, most, None), None) is not None


def matrix(block: pa.RecordBatch, features: Sequence[Feature]) -> NDArray[np.float64]:
    """The block's features side by side, (m, len(features)) float64, C order."""
    made = np.zeros((block.num_rows, len(features)))
    first = 0
    for name, group in groupby(features, key=lambda feature: feature.column):
        categories = [feature.category for feature in group]
        cells = block.column(name)
        if categories == [None]:
            made[:, first] = cells.to_numpy()
        else:
            places = pc.index_in(cells, value_set=pa.array(categories)).to_numpy()
            made[np.arange(block.num_rows), first + places] = 1
        first += len(categories)
    return made


def _power(name: str, exponent: int) -> str:
    return name if exponent == 1 else f"{name}^{exponent}"
