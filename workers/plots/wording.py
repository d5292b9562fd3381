"""The words on pictures: columns' names, classes, how many rows are drawn."""

from collections.abc import Sequence
from typing import Any

from workers.plots.subject import Part


def name_of(value: Any, most_characters: int = 40) -> str:
    """A column's or class's name, cut where it is long, without what fonts or SVG cannot hold."""
    text = str(value)
    kept = text if len(text) <= most_characters else text[: most_characters - 1] + "…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in kept)


def number(value: float) -> str:
    """Four digits of it, its minus as long as a plus."""
    return f"{value:.4g}".replace("-", "−")


def equation(slope: float, intercept: float | None, name: str) -> str:
    """The straight line over the column of this name."""
    if intercept is None:
        return f"{number(slope)}·{name}"
    return f"{number(intercept)} {'−' if slope < 0 else '+'} {number(abs(slope))}·{name}"


def sample_of(parts: Sequence[Part]) -> str:
    """Which rows are drawn, for a title; nothing where that is every one."""
    drawn, there = sum(len(part.data.x) for part in parts), sum(part.n_rows for part in parts)
    return "" if drawn == there else f" ({drawn:,} of {there:,} rows)"
