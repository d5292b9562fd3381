"""A column's digest and summary, computed as its blocks come by, in bounded memory."""

import hashlib
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from service.errors import Place
from service.tables.distinct import distinct
from service.tables.places import refuse

MOST_CATEGORIES = 1_000
# Below the exponent of every number but 0.
_LEAST_SCALE = -1100


class ColumnSummary(Protocol):
    """What both kinds of column keep of their blocks."""

    def add(self, block: Any) -> None:
        """Take the next block in."""

    def content_digest(self) -> str:
        """The digest of all blocks."""

    def describe(self) -> dict[str, Any]:
        """The summary as clients see it; `n_distinct` is None where it is still to be counted."""


class NumberSummary:
    """min, max, mean and population spread, block by block by Chan's formula.

    The blocks are of one fixed size, so that the same numbers give the same bits in every format.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._hash = hashlib.sha256()
        self._n = 0
        self._min = np.inf
        self._max = -np.inf
        self._scale = _LEAST_SCALE
        self._mean = 0.0
        self._squares = 0.0
        self._n_distinct: int | None = None

    def add(self, block: NDArray[np.float64]) -> None:
        """Take the next block in."""
        self._hash.update(block.astype("<f8", copy=False).tobytes())
        # Of a table of one block, as small ones are, no one needs to read the file again.
        self._n_distinct = None if self._n else len(distinct(block + 0.0))
        self._min = min(self._min, float(block.min()))
        self._max = max(self._max, float(block.max()))
        # In units of a power of two above them, numbers of any size can be squared.
        largest = float(np.abs(block).max())
        scale = max(self._scale, int(np.frexp(largest)[1])) if largest else self._scale
        shift = self._scale - scale
        self._mean = float(np.ldexp(self._mean, shift))
        self._squares = float(np.ldexp(self._squares, 2 * shift))
        self._scale = scale
        self._merge(np.ldexp(block, -scale))

    def _merge(self, block: NDArray[np.float64]) -> None:
        n = self._n + len(block)
        mean = float(block.mean())
        squares = float(((block - mean) ** 2).sum())
        gap = mean - self._mean
        self._mean += gap * len(block) / n
        self._squares += squares + gap * gap * self._n * len(block) / n
        self._n = n

    def content_digest(self) -> str:
        """The digest of the little-endian float64 bytes."""
        return self._hash.hexdigest()

    def describe(self) -> dict[str, Any]:
        """The summary as clients see it; `n_distinct` is None of more than one block."""
        return {
            "name": self._name,
            "type": "number",
            "min": self._min,
            "max": self._max,
            "mean": float(np.ldexp(self._mean, self._scale)),
            "std": float(np.ldexp((self._squares / self._n) ** 0.5, self._scale)),
            "n_distinct": self._n_distinct,
        }


class CategorySummary:
    """The distinct texts of a category."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._hash = hashlib.sha256()
        self._categories: set[str] = set()

    def add(self, block: pa.Array) -> None:
        """Take the next block in; raises InvalidTable past MOST_CATEGORIES."""
        texts = block.to_pylist()
        self._hash.update(orjson.dumps(texts) + b"\n")
        # Not by Arrow, whose hash has no secret: texts that collide would take seconds a block.
        self._categories.update(texts)
        if len(self._categories) > MOST_CATEGORIES:
            detail = f"more than {MOST_CATEGORIES} different texts are no categories"
            refuse([Place("too_many_categories", detail, column=self._name)])

    def content_digest(self) -> str:
        """The digest of the texts as JSON, a list a block."""
        return self._hash.hexdigest()

    def describe(self) -> dict[str, Any]:
        """The summary as clients see it, the categories sorted."""
        return {
            "name": self._name,
            "type": "category",
            **dict.fromkeys(("min", "max", "mean", "std")),
            "n_distinct": len(self._categories),
            "categories": sorted(self._categories),
        }
