"""Holding an answer until a fit has ended, and letting go when the process is stopped."""

import re
import threading
from contextlib import AbstractContextManager

from flask import request

from service.api.requests import context
from service.errors import Unavailable
from service.places import Places

MOST_SECONDS = 60
# Each holds a thread: see `service.api.server`.
MOST_WAITS = 128
_WAIT = re.compile(r"""(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)""", re.IGNORECASE)
_draining = threading.Event()
_places = Places(MOST_WAITS, "waits", Unavailable)


def begin_drain() -> None:
    """Let every held answer go; called when this process gets SIGTERM."""
    _draining.set()


def draining() -> bool:
    """Whether this process is being stopped."""
    return _draining.is_set()


def place_to_wait() -> AbstractContextManager[bool]:
    """Whether this process has a place for one more who waits; held until the block's end.

    An owner who has enough of them gets none.
    """
    return _places.taken_if_free(context().caller.owner)


def preferred_wait_seconds() -> int | None:
    """The request's `Prefer: wait=N` (RFC 7240), at most 60; None where it has none that counts.

    The first of several counts; one that makes no sense is ignored, as the RFC says.
    """
    found = _WAIT.search(",".join(request.headers.getlist("Prefer")))
    return min(int(found[1]), MOST_SECONDS) if found else None
