"""The paths at which specs differ."""

from collections.abc import Mapping
from typing import Any


class Differences:
    """The paths at which specs differ from the first one, in the order in which they were met."""

    def __init__(self) -> None:
        self._first: Mapping[str, Any] | None = None
        self._paths: dict[str, None] = {}

    @property
    def paths(self) -> list[str]:
        """Dotted; lists differ as a whole."""
        return list(self._paths)

    def look(self, spec: Mapping[str, Any]) -> None:
        """Compare one more."""
        if self._first is None:
            self._first = spec
        self._compare(self._first, spec, "")

    def _compare(self, one: Mapping[str, Any], other: Mapping[str, Any], above: str) -> None:
        for key in dict.fromkeys([*one, *other]):
            a, b = one.get(key), other.get(key)
            if a == b:
                continue
            path = f"{above}{key}"
            if isinstance(a, dict) and isinstance(b, dict):
                self._compare(a, b, f"{path}.")
            else:
                self._paths[path] = None
