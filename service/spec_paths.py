"""Dotted paths into specs: `optimizer.lr`.

The keys of a spec may have dots in them, as weights' names do: of an object the longest beginning
of the path is taken that it has.
"""

from collections.abc import Mapping
from typing import Any

Parts = tuple[str | int, ...]


def parts_of(node: Any, path: str) -> Parts | None:
    """The keys and positions that the path means; None where it leads into no object or list.

    Keys that are not there yet are those between the dots.
    """
    parts: list[str | int] = []
    while path:
        if isinstance(node, list):
            word, _, path = path.partition(".")
            if not word.isdecimal() or int(word) >= len(node):
                return None
            parts.append(int(word))
            node = node[int(word)]
        elif isinstance(node, Mapping):
            key = _key(node, path)
            path = path[len(key) + 1 :]
            parts.append(key)
            node = node.get(key, {})
        else:
            return None
    return tuple(parts)


def value_at(spec: Mapping[str, Any], path: str) -> Any:
    """What lies there; None where nothing does."""
    node: Any = spec
    for part in parts_of(spec, path) or ():
        if isinstance(part, str) and part not in node:
            return None
        node = node[part]
    return None if node is spec else node


def put(body: dict[str, Any], parts: Parts, value: Any) -> None:
    """Set what lies there, in copies of all that leads there."""
    node: Any = body
    for part in parts[:-1]:
        child = node.get(part, {}) if isinstance(node, dict) else node[part]
        node[part] = child = child.copy()
        node = child
    node[parts[-1]] = value


def _key(node: Mapping[str, Any], path: str) -> str:
    words = path.split(".")
    begun = (".".join(words[:n]) for n in range(len(words), 0, -1))
    return next((key for key in begun if key in node), words[0])
