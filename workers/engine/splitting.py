"""Which rows are held out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.data import Data, RowSource, Shape, blocks
from workers.engine.errors import SpecificationError
from workers.engine.interrupting import look
from workers.engine.shuffling import shuffle_rows

Rows = NDArray[np.int64]

_BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Validation:
    """The share of the rows that is held out, of each class alike where `stratify`."""

    fraction: float
    stratify: bool


@dataclass(frozen=True, slots=True)
class GivenValidation:
    """Rows of their own are held out, and come beside the data."""


def validation_from_mapping(mapping: Mapping[str, Any]) -> Validation | GivenValidation:
    """The held-out rows that a resolved object says."""
    return GivenValidation() if "dataset" in mapping else Validation(**mapping)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The rows that a fit is made on, and those that were held out, if any."""

    train: RowSource
    validation: RowSource | None = None


class Subset:
    """Some rows of a source, in its order. See `workers.engine.data.RowSource`."""

    def __init__(self, source: RowSource, rows: Rows) -> None:
        self._source = source
        self._rows = rows
        shape = source.shape
        self.shape = Shape(
            len(rows), shape.n_features, shape.n_targets, shape.weighted, shape.n_classes
        )
        self.weighted = source.weighted

    def read(self, first: int, stop: int) -> Data:
        """The rows [first, stop), in order."""
        wanted = self._rows[first:stop]
        parts: list[Data] = []
        for begin in range(int(wanted[0]), int(wanted[-1]) + 1, _BLOCK_ROWS):
            if parts:
                look()
            inside = wanted[(wanted >= begin) & (wanted < begin + _BLOCK_ROWS)]
            if len(inside):
                block = self._source.read(begin, int(inside[-1]) + 1)
                parts.append(_take(block, inside - begin))
        return joined(parts)


def split_rows(
    source: RowSource,
    validation: Validation | GivenValidation | None,
    seed: int,
    given: RowSource | None = None,
) -> Split:
    """Hold rows out: those that are given, or ⌈fraction·n⌉ of the source's, each in its place.

    They are the first ones of the epoch-0 order of `seed`; stratified, the first ⌈fraction·m⌉ of
    each class's m rows in that order. Raises SpecificationError where no row would be left to
    fit, and ValueError where rows are given that were not asked for, or the other way round.
    """
    if isinstance(validation, GivenValidation) != (given is not None):
        raise ValueError("rows are held out beside the data where the specification says so")
    if validation is None or isinstance(validation, GivenValidation):
        return Split(source, given)
    order = shuffle_rows(source.shape.n_rows, seed, 0).numpy()
    held = _of_each_class(source, validation, order) if validation.stratify else order
    if not validation.stratify:
        held = order[: math.ceil(validation.fraction * len(order))]
    out = np.zeros(len(order), np.bool_)
    out[held] = True
    if out.all():
        detail = f"of {len(order)} rows none would be left to fit"
        raise SpecificationError("/validation/fraction", detail)
    train, kept = (Subset(source, np.flatnonzero(mask)) for mask in (~out, out))
    if isinstance(source, Data):
        return Split(train.read(0, train.shape.n_rows), kept.read(0, kept.shape.n_rows))
    return Split(train, kept)


def _of_each_class(source: RowSource, validation: Validation, order: Rows) -> Rows:
    classes = np.concatenate([block.y[:, 0] for _, block in blocks(source)])[order]
    held = []
    for one in np.unique(classes):
        rows = order[classes == one]
        held.append(rows[: math.ceil(validation.fraction * len(rows))])
    return np.concatenate(held)


def _take(data: Data, rows: Rows) -> Data:
    weight = None if data.weight is None else data.weight[rows]
    return Data(data.x[rows], data.y[rows], weight, data.n_classes)


def joined(parts: list[Data]) -> Data:
    """The rows of all parts, in order."""
    weights = [part.weight for part in parts if part.weight is not None]
    return Data(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(weights) if weights else None,
        parts[0].n_classes,
    )
