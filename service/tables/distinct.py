"""How many different numbers a column has, exactly and in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from service.tables.stored import StoredTable

# A longer column is read several times, each time for a share of its values.
_SHARE_ROWS = 2_000_000


def count_distinct(column: StoredTable, share_rows: int = _SHARE_ROWS) -> int:
    """The number of different values in a table of one number column; 0 and -0 are one."""
    n_shares = -(-column.n_rows // share_rows)
    return sum(_count_share(column, share, n_shares) for share in range(n_shares))


def _count_share(column: StoredTable, share: int, n_shares: int) -> int:
    found = np.empty(0)
    waiting: list[NDArray[np.float64]] = []
    for block in column.blocks():
        # Adding 0 makes -0 the same bits as 0.
        values = block.column(0).to_numpy() + 0.0
        if n_shares > 1:
            values = values[_share_of(values, n_shares) == share]
        waiting.append(values)
        # Of a column of few values each share holds few, however many rows they fill.
        if sum(map(len, waiting)) > max(len(found), _SHARE_ROWS // 8):
            found = distinct(found, *waiting)
            waiting = []
    return len(distinct(found, *waiting))


def distinct(*parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The different numbers of all parts, sorted."""
    values = np.concatenate(parts)
    values.sort()
    new = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return values[new]


def _share_of(values: NDArray[np.float64], n_shares: int) -> NDArray[np.uint64]:
    # Fibonacci hashing: equal numbers fall into one share, and neighbours into many.
    spread = values.view(np.uint64) * np.uint64(11400714819323198485)
    return (spread >> np.uint64(32)) % np.uint64(n_shares)
