"""What a running fit has written down of itself, so that another worker can go on from there.

An object an attempt: `checkpoints/{fit_id}/{fence}`, whole or not at all. It begins with a digest
of all that comes after, so that one that was cut off later is told from a good one.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import structlog
from numpy.typing import NDArray

from service.chunks import chunks
from service.context import Context
from service.database.fits import unended_fits
from service.named_arrays import Arrays, pack, unpack
from service.storage import MissingObject

log = structlog.get_logger(__name__)

CHECKPOINTS = "checkpoints"

_AT_ONCE = 500

_DIGEST_BYTES = hashlib.sha256().digest_size


def store_checkpoint(
    context: Context, fit_id: str, fence: int, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Keep the arrays in place of those that the same attempt kept before.

    Raises OSError and Unavailable where the store does not take them.
    """
    content = pack(arrays)
    digest = hashlib.sha256(content).digest()
    context.storage.put(f"{CHECKPOINTS}/{fit_id}/{fence}", digest + content)


def newest_checkpoint(context: Context, fit_id: str, fence: int) -> Arrays | None:
    """What the last attempt before this one that kept anything whole has kept; None: nothing."""
    names = context.storage.names_below(f"{CHECKPOINTS}/{fit_id}")
    for earlier in sorted(map(int, names), reverse=True):
        if earlier >= fence:
            continue
        try:
            content = context.storage.get(f"{CHECKPOINTS}/{fit_id}/{earlier}")
        except MissingObject:
            continue
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() == digest:
            return unpack(content)
        log.warning("checkpoint_damaged", fit_id=fit_id, fence=earlier)
    return None


def forget_checkpoints(context: Context) -> None:
    """Drop those of fits that have ended; safe to run many times at once."""
    for kept in chunks(context.storage.names_below(CHECKPOINTS), _AT_ONCE):
        with context.database.read() as connection:
            unended = unended_fits(connection, kept)
        for fit_id in kept:
            if fit_id not in unended:
                context.storage.delete_below(f"{CHECKPOINTS}/{fit_id}")
