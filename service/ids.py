"""Ids: a prefix that tells the kind, then a ULID that sorts by creation."""

import secrets
import time
from datetime import UTC, datetime

from ulid import ULID

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BITS = 80
_PAIR_BITS = 10
# A ULID's 26 letters hold 130 bits; it has 128.
_BITS = 130


def new_id(prefix: str) -> str:
    """A new id, `prefix_` and 26 letters and digits."""
    return f"{prefix}_{ULID()}"


def new_ids(prefix: str, n: int) -> list[str]:
    """New ids that sort in this order: ULIDs of one millisecond, each one more than the last."""
    moment = int(time.time() * 1000) << _RANDOM_BITS
    # A bit less than there is room for leaves room to count.
    first = moment | secrets.randbits(_RANDOM_BITS - 1)
    return [f"{prefix}_{_letters(first + i)}" for i in range(n)]


def _letters(number: int) -> str:
    """A ULID's 128 bits in Crockford's base 32."""
    shifts = range(_BITS - _PAIR_BITS, -1, -_PAIR_BITS)
    return "".join([_PAIRS[number >> shift & (1 << _PAIR_BITS) - 1] for shift in shifts])


def rfc3339(seconds: float | None) -> str | None:
    """A moment, seconds since the epoch, as clients read it: UTC, in microseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
