"""Bounds, an owner's or everybody's, counted by one transaction at a time.

Without a lock two transactions of PostgreSQL count the same fits, and each takes the last place.
SQLite's writers wait for each other anyway.
"""

import hashlib
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, func, select

_HOLD = select(func.pg_advisory_xact_lock(bindparam("its_number")))
_HOLD_BESIDE_OTHERS = select(func.pg_advisory_xact_lock_shared(bindparam("its_number")))


def hold_everybody(connection: Connection, *, alone: bool = True) -> None:
    """Have others who count what all owners have wait until the transaction ends.

    Not `alone`, only those wait who would be. Asked for before any owner, so that whoever waits for
    it keeps no owner's place from others, and before any row is locked.
    """
    if connection.dialect.name == "postgresql":
        hold = _HOLD if alone else _HOLD_BESIDE_OTHERS
        connection.execute(hold, {"its_number": _number_of(b"everybody")})


def hold_owners(connection: Connection, owners: Iterable[str]) -> None:
    """Have others who count what these owners have wait until the transaction ends.

    Asked for before any row is locked, so that no two wait for each other.
    """
    if connection.dialect.name != "postgresql":
        return
    # In one order for everybody.
    for number in sorted({_number_of(b"owner " + owner.encode()) for owner in owners}):
        connection.execute(_HOLD, {"its_number": number})


def _number_of(name: bytes) -> int:
    """64 bits of the name's digest; two names that share them wait for each other needlessly."""
    digest = hashlib.sha256(name).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
