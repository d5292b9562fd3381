"""Whether this process waits for the object store to come back."""

import threading

import structlog

from service.context import Context
from service.errors import Unavailable

log = structlog.get_logger(__name__)

_away = threading.Event()


def store_is_away(context: Context) -> bool:
    """Ask the store, and remember what it says."""
    try:
        context.storage.check()
    except Unavailable as error:
        _away.set()
        log.warning("object_store_away", error=str(error))
        return True
    _away.clear()
    return False


def store_is_still_away(context: Context) -> bool:
    """Ask the store again where it was away last; costs nothing where it was not."""
    return _away.is_set() and store_is_away(context)
