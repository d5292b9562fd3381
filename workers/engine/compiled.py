"""How the engine's loops are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile with numba at the first call, and keep the machine code on disk for later processes.

    No fastmath: sums are taken in the order in which they are written, so that the same numbers
    give the same bits. numba knows that the code is stale by the time of the file that holds the
    called loop: loops that call each other stand in one file.
    """
    return cast(Loop, numba.njit(cache=True, error_model="numpy")(loop))


def inlined(loop: Loop) -> Loop:
    """Compile as a part of whichever compiled loop calls it.

    For what a step calls once or more: handing over a tuple of arrays costs as much as a hundred
    rows.
    """
    return cast(Loop, numba.njit(cache=True, error_model="numpy", inline="always")(loop))
