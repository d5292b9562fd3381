"""How a table's columns become a model's features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True)
class Feature:
    """One of a model's features: a number column, or a category's indicator (1 or 0)."""

    column: str
    category: str | None = None

    @property
    def label(self) -> str:
        """The name under which its coefficient is shown."""
        return self.column if self.category is None else f"{self.column}={self.category}"


def encode(names: Sequence[str], columns: Sequence[Mapping[str, Any]]) -> list[Feature]:
    """The features that the named columns make, in their order.

    A category is one-hot encoded: an indicator for every one of its texts, sorted. `columns` are
    the dataset's own summaries.
    """
    by_name = {column["name"]: column for column in columns}
    return [
        Feature(name, category)
        for name in names
        for category in by_name[name].get("categories", (None,))
    ]


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
