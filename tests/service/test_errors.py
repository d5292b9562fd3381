"""The errors' tree, as it is drawn."""

import re
from collections.abc import Iterator

from service import errors


def drawn() -> list[tuple[int, str]]:
    """Each error of the module's docstring, and how deep it hangs."""
    assert errors.__doc__ is not None
    lines = re.findall(r"^([│ ├└─]*)(\w+)(?:  .*)?$", errors.__doc__, re.MULTILINE)
    return [(len(branch) // 4, name) for branch, name in lines]


def grown(kind: type[errors.ThalwegError], depth: int = 0) -> Iterator[tuple[int, str]]:
    yield depth, kind.__name__
    # What is refused in one place alone may be defined there.
    for below in (one for one in kind.__subclasses__() if one.__module__ == errors.__name__):
        yield from grown(below, depth + 1)


def test_the_docstring_draws_the_whole_tree() -> None:
    assert sorted(drawn()) == sorted(grown(errors.ThalwegError))
