"""The HTTP edge: what comes in is checked, what goes out is written, nothing else happens here."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.api.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """The app's parts are loaded with the app: gunicorn's main process needs none of them.

    Prometheus' client looks for where to count when it is loaded, which is before gunicorn's main
    process has said where.
    """
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from service.api.app import create_app  # noqa: PLC0415

    return create_app
