"""Python source from values."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 100
MOST_LINES = 150


def literal(value: Any) -> str:
    """The value as Python writes it, texts in double quotes where they have none themselves."""
    if isinstance(value, str):
        plain = repr(value)
        return plain if '"' in plain else f'"{plain[1:-1]}"'
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def filled(items: Iterable[str], width: int = WIDTH - 4) -> list[str]:
    """The items, with commas between them, in lines that are no wider than they must be."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]} {item},".lstrip()
        if lines[-1] and len(longer) > width:
            lines.append(f"{item},")
        else:
            lines[-1] = longer
    return lines


def assigned(name: str, values: Sequence[Any], most_lines: int) -> list[str]:
    """`name = [...]` in at most so many lines, or in a long one."""
    one = f"{name} = {literal(list(values))}"
    if len(one) <= WIDTH:
        return [one]
    lines = filled(map(literal, values))
    if len(lines) > most_lines:
        return [one]
    return [f"{name} = [", *indented(lines), "]"]


def called(before: str, arguments: Sequence[str], after: str = ")") -> list[str]:
    """`before` ends with the opening bracket of a call: in one line, or in several."""
    one = before + ", ".join(arguments) + after
    # It may stand in a function or in a loop.
    if len(one) <= WIDTH - 4:
        return [one]
    *lines, last = filled(arguments, WIDTH - 8 - len(after))
    return [before, *indented([*lines, last.removesuffix(",") + after])]


def keywords(arguments: Mapping[str, Any]) -> list[str]:
    """Each as `name=value`."""
    return [f"{name}={literal(value)}" for name, value in arguments.items()]


def indented(lines: Iterable[str]) -> list[str]:
    """The lines, one level deeper."""
    return [f"    {line}" if line else "" for line in lines]


def joined(names: Sequence[str], row: str = "", before: str = "") -> str:
    """`x, y`, or with a row `x[rows], y[rows]`."""
    return ", ".join(f"{before}{name}{row}" for name in names)


# What a script may import, the standard library's first.
_STANDARD = ("csv", "hashlib", "json", "math", "sys")
_OTHERS = {
    "np": "import numpy as np",
    "torch": "import torch",
    "nn": "from torch import nn",
}


def imports(body: str) -> list[str]:
    """The imports that the source needs."""
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    standard = [f"import {name}" for name in _STANDARD if name in used]
    return [*standard, "", *(line for name, line in _OTHERS.items() if name in used)]


def page(docstring: str, airy: Sequence[Sequence[str]], tight: Sequence[Sequence[str]]) -> str:
    """The script: as airy as the lines allow, and in the worst case without a comment.

    `airy` and `tight` are the same sections, the data of the latter in few lines.
    """
    bare = [[line for line in lines if not line.lstrip().startswith("#")] for lines in tight]
    looks = [(airy, 2, 1), (airy, 1, 1), (tight, 1, 1), (bare, 1, 1), (bare, 1, 0)]
    made = ""
    for sections, n_around, n_between in looks:
        made = _page(docstring, sections, n_around, n_between)
        if made.count("\n") <= MOST_LINES:
            break
    return made


def _page(docstring: str, sections: Sequence[Sequence[str]], n_around: int, n_between: int) -> str:
    """So many blank lines are around functions and classes, and between other sections."""
    body = ""
    after_block = False
    for section in filter(None, sections):
        is_block = section[0].startswith(("def ", "class "))
        body += "\n" * (n_around if is_block or after_block else n_between)
        body += "\n".join(section) + "\n"
        after_block = is_block
    return f"{docstring}\n\n" + "\n".join(imports(body)) + "\n" + body
