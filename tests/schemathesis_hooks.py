"""How bodies that are no JSON are sent: as the bytes they are."""

from typing import Any

import schemathesis

from service.tables.reading import READERS


@schemathesis.serializer(*(name for name in READERS if name != "text/csv"))
def as_bytes(_: Any, value: Any) -> bytes:
    """The drawn text or bytes, unchanged."""
    return value if isinstance(value, bytes) else str(value).encode()
