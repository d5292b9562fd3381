"""Forgetting objects that no row names: left by whoever died between the object and its row.

Objects are listed before the rows are read, and a row is committed together with the end of its
fit: whatever an ended fit's rows do not name then, nobody will ever name.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import structlog

from service.chunks import chunks
from service.context import Context
from service.database import datasets as dataset_queries
from service.database import fits as fit_queries

log = structlog.get_logger(__name__)

_AT_ONCE = 500
# fits/<fit>/<fence>/<name> are artifacts; pictures stand beside them, and no row names these.
_PARTS_OF_AN_ARTIFACT = 4


def forget_orphans(context: Context, now: float) -> int:
    """Forget those that are older than `orphan_seconds`; how many. Safe to run many at once."""
    before = now - context.settings.orphan_seconds
    n = 0
    for keys in chunks(context.storage.keys_below("datasets", before), _AT_ONCE):
        n += _forget(context, _tables(context, keys))
    for keys in chunks(context.storage.keys_below("fits", before), _AT_ONCE):
        n += _forget(context, _artifacts(context, keys))
    if n:
        log.info("orphans_forgotten", n=n)
    return n


def _tables(context: Context, keys: Sequence[str]) -> list[str]:
    """Those that no dataset needs."""
    with context.database.read() as connection:
        return dataset_queries.unused_keys(connection, keys)


def _artifacts(context: Context, keys: Sequence[str]) -> Iterator[str]:
    """Those of ended or unknown fits that none of their rows names."""
    by_fit = {fit_id: [*group] for fit_id, group in groupby(sorted(keys), key=_fit_of)}
    with context.database.read() as connection:
        kept = fit_queries.keys_kept(connection, [*by_fit])
    for fit_id, its_keys in by_fit.items():
        there = kept.get(fit_id)
        if there is None:
            yield from its_keys
        elif there.ended:
            yield from (key for key in its_keys if _is_artifact(key) and key not in there.keys)


def _fit_of(key: str) -> str:
    return key.split("/")[1]


def _is_artifact(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == _PARTS_OF_AN_ARTIFACT and parts[2].isdigit()


def _forget(context: Context, keys: Iterable[str]) -> int:
    n = 0
    for key in keys:
        context.storage.delete(key)
        n += 1
    return n
