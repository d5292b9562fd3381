"""Many things a few at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Thing = TypeVar("_Thing")


def chunks(things: Iterable[_Thing], size: int) -> Iterator[list[_Thing]]:
    """Lists of `size`, the last one of what is left; read as they are asked for."""
    rest = iter(things)
    while some := [*islice(rest, size)]:
        yield some
