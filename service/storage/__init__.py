"""The object store: bytes under keys, written whole or not at all."""

from service.settings import Settings
from service.storage.interface import MissingObject, ObjectStore, discard
from service.storage.local import LocalStore
from service.storage.s3 import S3Store

__all__ = ["MissingObject", "ObjectStore", "discard", "open_store"]


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name; nothing is asked of it yet."""
    if settings.bucket_url is not None:
        return S3Store(settings.bucket_url, settings.data_dir.resolve() / "scratch")
    return LocalStore(settings.storage_root)
