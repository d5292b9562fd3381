"""The service's health as it is answered."""

from typing import Literal

from service.schemas.answers.common import Answer


class Health(Answer):
    """`ok`, or why not."""

    status: Literal["ok", "unavailable"]


class Readiness(Health):
    """Each part by name: `ok`, or why it is missing."""

    redis: str
    database: str
    storage: str
