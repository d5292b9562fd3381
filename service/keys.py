"""API keys: made and shown once, kept as digests, revoked without a restart.

A key has 256 random bits, so that a plain SHA-256 of it is as good as a slow hash: there is nothing
to guess. It is looked up by its digest; how long that takes says nothing about any other key.
"""

import base64
import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from service.database import Database, DatabaseError
from service.database import keys as queries
from service.errors import InvalidInput, NotFound, Unauthorized
from service.ids import new_id, rfc3339
from service.limits import Limits
from service.settings import Settings

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# Whose everything is while no key was ever made.
OPEN_OWNER = "open"

_PREFIX = "thalweg_"
_RANDOM_BYTES = 32
_WEBHOOK_SECRET_BYTES = 24
_LONGEST_OWNER = 100
# A revoked key holds this long at most, and a first key takes this long to close the service.
_KNOWN_SECONDS = 5.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Principal:
    """Who asks, and what they may do."""

    owner: str
    scopes: frozenset[Scope]
    limits: Limits = field(default_factory=Limits)
    key_id: str | None = None


_EVERYBODY = Principal(OPEN_OWNER, frozenset(SCOPES))


class KeyRing:
    """Whom a key belongs to; what the database said is remembered for seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._lock = threading.Lock()
        self._open_until = 0.0
        self._is_closed = False

    def is_open(self) -> bool:
        """Whether no key was ever made: everybody may do everything."""
        if self._is_closed:
            return False
        now = time.monotonic()
        if now < self._open_until:
            return True
        with self._database.read() as connection:
            # A revoked key is kept: what is closed stays closed.
            self._is_closed = queries.has_api_keys(connection)
        if self._is_closed:
            return False
        self._open_until = now + _KNOWN_SECONDS
        return True

    def principal(self, key: str | None) -> Principal:
        """Whose key it is; raises Unauthorized where it is nobody's, or missing."""
        if self.is_open():
            return _EVERYBODY
        if key is None:
            raise Unauthorized("a key is needed: Authorization: Bearer <key>")
        digest = digest_of(key)
        now = time.monotonic()
        with self._lock:
            seen, principal = self._known.get(digest, (0.0, None))
        if principal is not None and now < seen + _KNOWN_SECONDS:
            return principal
        principal = self._look_up(digest)
        with self._lock:
            self._known[digest] = (now, principal)
            self._known.move_to_end(digest)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return principal

    def holds(self, key: str | None) -> bool:
        """Whether `principal` still finds somebody; a database that is away takes no key back."""
        try:
            self.principal(key)
        except Unauthorized:
            return False
        except DatabaseError:
            return True
        return True

    def _look_up(self, digest: str) -> Principal:
        with self._database.read() as connection:
            row = queries.find_api_key(connection, digest)
        if row is None or row.revoked_at is not None:
            with self._lock:
                self._known.pop(digest, None)
            raise Unauthorized("the key is unknown or has been revoked")
        return Principal(row.owner, frozenset(row.scopes), Limits(**row.limits), row.id)


def has_keys(settings: Settings) -> bool:
    """Whether a key was ever made, in a database that may not be there yet."""
    if settings.database_file is not None and not settings.database_file.exists():
        return False
    database = Database(settings.database_address)
    try:
        return database.has_table("api_keys") and not KeyRing(database).is_open()
    finally:
        database.close()


def limits_of(given: Sequence[str]) -> Limits:
    """Limits from texts like `max_steps=1000`; raises InvalidInput for what is none."""
    known = {one.name for one in fields(Limits)}
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            raise InvalidInput(f"there is no limit {name!r}; there are {', '.join(sorted(known))}")
        if name != "rate_limit" and not value.isdecimal():
            raise InvalidInput(f"{name} is a number, not {value!r}")
        found[name] = value if name == "rate_limit" else int(value)
    return Limits(**found)


def digest_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_key(
    database: Database, owner: str, scopes: Sequence[str], limits: Limits
) -> dict[str, Any]:
    """Make a key; with its `key` and `webhook_secret`, which are told this once.

    Raises InvalidInput for an owner without a name, the one of the open service, and for unknown
    scopes.
    """
    if not (len(owner.strip()) > 0 and len(owner) <= _LONGEST_OWNER):
        raise InvalidInput(f"an owner has a name of 1 to {_LONGEST_OWNER} characters")
    if owner == OPEN_OWNER:
        detail = f"the owner {owner!r} is nobody: what was made while there was no key is theirs"
        raise InvalidInput(detail)
    unknown = sorted({*scopes} - {*SCOPES})
    if unknown or not scopes:
        named = ", ".join(map(repr, unknown)) or "none"
        raise InvalidInput(f"the scopes are {', '.join(SCOPES)}; there is {named}")
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = {
        "id": new_id("key"),
        "owner": owner,
        "digest": digest_of(key),
        "scopes": [scope for scope in SCOPES if scope in scopes],
        "limits": limits.given(),
        "webhook_secret": _new_webhook_secret(),
        "created_at": time.time(),
    }
    with database.write() as connection:
        queries.insert_api_key(connection, row)
    return _described(row) | {"key": key, "webhook_secret": row["webhook_secret"]}


def list_keys(database: Database) -> list[dict[str, Any]]:
    """Every key without what is secret, oldest first."""
    with database.read() as connection:
        return [_described(row._asdict()) for row in queries.all_api_keys(connection)]


def revoke_key(database: Database, key_id: str) -> None:
    """Have the key hold no longer; raises NotFound where there is none that holds."""
    with database.write() as connection:
        if not queries.revoke_api_key(connection, key_id, time.time()):
            raise NotFound(f"there is no key {key_id!r} that holds")


def _described(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "owner": row["owner"],
        "scopes": row["scopes"],
        "limits": row["limits"],
        "created_at": rfc3339(row["created_at"]),
        "revoked_at": rfc3339(row.get("revoked_at")),
    }


def _new_webhook_secret() -> str:
    """As Standard Webhooks writes secrets."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_WEBHOOK_SECRET_BYTES)).decode()
