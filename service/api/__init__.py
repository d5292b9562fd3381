"""The HTTP edge: what comes in is checked, what goes out is written, nothing else happens here."""

from service.api.app import create_app

__all__ = ["create_app"]
