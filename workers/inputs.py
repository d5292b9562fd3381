"""A claim's dataset → the arrays that the engine takes."""

from collections import OrderedDict

from service.context import Context
from service.lifecycle import Claim
from service.tables import Table, from_arrow
from workers.engine import Data

_KEPT_TABLES = 16
_LARGEST_KEPT_BYTES = 16 * 1024**2

_tables: OrderedDict[str, Table] = OrderedDict()


def load_table(context: Context, storage_key: str) -> Table:
    """The stored table; small ones are kept, for a grader's thousand fits share one.

    A stored object never changes, so that a kept table is never stale.
    """
    if storage_key in _tables:
        _tables.move_to_end(storage_key)
        return _tables[storage_key]
    content = context.storage.get(storage_key)
    table = from_arrow(content)
    if len(content) <= _LARGEST_KEPT_BYTES:
        _tables[storage_key] = table
        if len(_tables) > _KEPT_TABLES:
            _tables.popitem(last=False)
    return table


def load_data(context: Context, claim: Claim) -> Data:
    """Features (n, d) and targets (n, k) as the spec names them, float64."""
    table = load_table(context, claim.storage_key)
    target = claim.spec["target"]
    targets = [target] if isinstance(target, str) else target
    return Data(x=table.matrix(claim.spec["features"]), y=table.matrix(targets))
