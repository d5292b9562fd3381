"""Named arrays within named arrays."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

_BETWEEN = "/"


def joined(parts: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """All parts' arrays, each under its part's name and its own."""
    return {
        f"{name}{_BETWEEN}{inner}": array
        for name, arrays in parts.items()
        for inner, array in arrays.items()
    }


def part(arrays: Arrays, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one part that `joined` put in; none where it had none."""
    prefix = name + _BETWEEN
    return {
        inner.removeprefix(prefix): array
        for inner, array in arrays.items()
        if inner.startswith(prefix)
    }


def copied_fields(state: Any) -> dict[str, NDArray[Any]]:
    """Copies of the arrays among a NamedTuple's fields, by the fields' names."""
    return {
        name: value.copy() for name, value in state._asdict().items() if hasattr(value, "dtype")
    }


def put_fields(state: Any, arrays: Arrays) -> None:
    """Write the arrays of `copied_fields` into those of the NamedTuple."""
    for name, array in arrays.items():
        getattr(state, name)[...] = array
