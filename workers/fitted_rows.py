"""The rows that an ended fit was made on, split as it had split them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from service.context import Context
from service.database import datasets as dataset_queries
from service.tables.stored import StoredTable
from workers.engine import Data, RowSource, blocks
from workers.engine.data import row_bytes
from workers.engine.splitting import Split, Subset, split_rows
from workers.fitted import Fitted
from workers.inputs import StoredRows

_MOST_BYTES = 64 * 1024**2


@contextmanager
def opened_split(context: Context, fitted: Fitted) -> Iterator[Split]:
    """The fit's own rows, in their own units, read from the store as they are asked for.

    Raises MissingObject where a table is no longer kept.
    """
    row = fitted.row
    with ExitStack() as stack:
        rows = _opened(context, fitted, row["storage_key"], stack)
        held_out = None
        if row["validation_dataset_id"] is not None:
            with context.database.read() as connection:
                key = dataset_queries.find_storage_key(connection, row["validation_dataset_id"])
            held_out = _opened(context, fitted, key, stack)
        yield split_rows(rows, fitted.spec.validation, fitted.spec.seeds.split, held_out)


def _opened(context: Context, fitted: Fitted, storage_key: str, stack: ExitStack) -> RowSource:
    path = stack.enter_context(context.storage.local(storage_key))
    table = stack.enter_context(StoredTable(path, fitted.columns.names))
    return StoredRows(table, fitted.columns)


def sampled(source: RowSource, most_rows: int) -> Data:
    """At most so many evenly kept rows, the first and the last among them; 64 MiB of them at most.

    Every row where these are no more.
    """
    n_rows = source.shape.n_rows
    most = max(1, min(n_rows, most_rows, _MOST_BYTES // row_bytes(source)))
    kept = np.linspace(0, n_rows - 1, most).round().astype(np.int64)
    parts = []
    for first, block in blocks(source):
        inside = kept[(kept >= first) & (kept < first + len(block.x))]
        if len(inside):
            parts.append(Subset(block, inside - first).read(0, len(inside)))
    weights = [part.weight for part in parts if part.weight is not None]
    return Data(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(weights) if weights else None,
        parts[0].n_classes,
    )
