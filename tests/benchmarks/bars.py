"""What a figure was to be, and whether it was, as the report and its tables have it."""

from typing import Any


def at_least(measured: float, bar: float) -> dict[str, Any]:
    """A figure that was to be no less."""
    return {"measured": measured, "at_least": bar, "reached": measured >= bar}


def at_most(measured: float, bar: float) -> dict[str, Any]:
    """A figure that was to be no more."""
    return {"measured": measured, "at_most": bar, "reached": measured <= bar}
