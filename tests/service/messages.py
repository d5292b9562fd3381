"""What stands in the broker's queues, as workers read it."""

import base64
import json
from typing import Any

import redis

from service.queue import ERRANDS


def next_errand(client: redis.Redis, seconds: float) -> dict[str, Any] | None:
    """The oldest errand's arguments, once there is one; None when time is up."""
    taken: Any = client.brpop([ERRANDS], timeout=seconds)
    if taken is None:
        return None
    _, asked, _ = json.loads(base64.b64decode(json.loads(taken[1])["body"]))
    arguments: dict[str, Any] = asked
    return arguments
