"""Where a job's end is to be told, as a client sends it."""

from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from service.schemas.common import Schema

# A fit's body is a range test's too, whatever it asks to be told of.
Message = Literal[
    "fit.succeeded",
    "fit.failed",
    "fit.cancelled",
    "lr_range_test.succeeded",
    "lr_range_test.failed",
    "lr_range_test.cancelled",
]
Messages = Annotated[list[Message], Field(min_length=1, max_length=50)]


def _check_url(url: str) -> str:
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise PydanticCustomError("invalid_url", "must be an http or https URL with a host")
    if "@" in parts.netloc:
        raise PydanticCustomError("url_with_credentials", "must have no user and no password")
    return url


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        # Whether it is a number that a port can have is only said here.
        return None if parts.port == 0 else parts
    except ValueError:
        return None


# Visible ASCII: other letters are written as %XX, and in host names as xn--….
URL_PATTERN = r"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$"
WebhookUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=URL_PATTERN),
    AfterValidator(_check_url),
    Field(examples=["https://example.org/fits"]),
]


class Webhook(Schema):
    """Where a message goes."""

    url: WebhookUrl


class FitWebhook(Webhook):
    """Where a message goes when the fit ends in one of these ways."""

    events: Messages = ["fit.succeeded", "fit.failed", "fit.cancelled"]


class LrRangeTestWebhook(Webhook):
    """Where a message goes when the range test ends in one of these ways."""

    events: Messages = [
        "lr_range_test.succeeded",
        "lr_range_test.failed",
        "lr_range_test.cancelled",
    ]
