"""Ids: a prefix that tells the kind, then a ULID that sorts by creation."""

from datetime import UTC, datetime

from ulid import ULID


def new_id(prefix: str) -> str:
    """A new id, `prefix_` and 26 letters and digits."""
    return f"{prefix}_{ULID()}"


def rfc3339(seconds: float | None) -> str | None:
    """A moment, seconds since the epoch, as clients read it: UTC, in microseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
