"""List columns of one fixed length → a column for each place in the list."""

import numpy as np
import pyarrow as pa

from service.errors import Place
from service.tables.places import MOST_COLUMNS, refuse


def is_list(kind: pa.DataType) -> bool:
    """Whether cells of the type are lists."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def width(array: pa.Array) -> int:
    """How many columns the array becomes: the length of its first list, 1 where it has none."""
    if not is_list(array.type) or not len(array):
        return 1
    return max(1, int(array[:1].value_lengths().fill_null(1)[0].as_py()))


def expand(name: str, array: pa.Array, first_row: int) -> dict[str, pa.Array]:
    """A list column as columns `name.0`, `name.1`, …; any other as it is.

    Raises InvalidTable with the row (from 0) of a list of another length than the first.
    """
    if not is_list(array.type):
        return {name: array}
    lengths = array.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    n = int(lengths[0])
    others = np.flatnonzero(lengths != n)
    if len(others) or not 0 < n <= MOST_COLUMNS:
        row = first_row + (int(others[0]) if len(others) else 0)
        detail = f"the lists of a column need one length, from 1 to {MOST_COLUMNS}"
        refuse([Place("ragged_list", detail, row=row, column=name)])
    values = array.flatten()
    rows = np.arange(len(array)) * n
    return {f"{name}.{i}": values.take(pa.array(rows + i)) for i in range(n)}
