"""Objects in a bucket of S3, or of whatever speaks its protocol.

Credentials, region and endpoint are those of the AWS variables (`AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`), or of the machine's role.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket

from service.errors import Unavailable
from service.storage.interface import MissingObject, checked
from service.storage.scratch import Scratch

if TYPE_CHECKING:
    # The module that declares them is there for type checkers alone.
    from obstore.store import ClientConfig, RetryConfig

log = structlog.get_logger(__name__)

# A bucket that is silent for so long is away; what fails sooner is tried again within that time.
_SILENT_SECONDS = 5
_RETRIES = 3
_CHECK_SECONDS = 2
# What is sent is silence too, so that more than a little has the time that a slow line needs.
_LITTLE_BYTES = 1024**2
_SENT_SECONDS = 60
# Each is in memory while it is sent.
_PART_BYTES = 5 * 1024**2
_PARTS_AT_ONCE = 2
# An object of many GB may take long to come, as long as it comes.
_WHOLE_SECONDS = 3600
_CHECKED = "check"
_LIST_SECONDS = 60.0


class S3Store:
    """Objects below `s3://bucket/prefix`; files that are being made stand below `scratch`."""

    listing_seconds = _LIST_SECONDS

    def __init__(self, url: str, scratch: Path) -> None:
        self._bucket = _bucket(url, _SILENT_SECONDS, _RETRIES)
        self._patient = _bucket(url, _SENT_SECONDS, _RETRIES)
        self._impatient = _bucket(url, _CHECK_SECONDS, 0)
        self._scratch = Scratch(scratch)

    def put(self, key: str, content: bytes) -> None:
        """The bucket shows a new object when it has all of it, and keeps it then."""
        self._put(key, content)

    def put_file(self, key: str, path: Path) -> None:
        """In parts where it is large; the file stays with its scratch directory."""
        self._put(key, path)

    def get(self, key: str) -> bytes:
        """The object's bytes; MissingObject where there is none."""
        with _asking(key):
            return bytes(self._bucket.get(checked(key)).bytes())

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """A copy of the object; MissingObject where there is none."""
        with self.scratch() as directory:
            path = directory / "object"
            with _asking(key), path.open("wb") as file:
                for part in self._bucket.get(checked(key)).stream(_PART_BYTES):
                    file.write(part)
            yield path

    def scratch(self) -> AbstractContextManager[Path]:
        """A directory of this machine."""
        return self._scratch.directory()

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens where there is none."""
        with _asking(key):
            self._bucket.delete(checked(key))

    def delete_below(self, prefix: str) -> None:
        """Forget every object whose key begins with `prefix` and `/`."""
        self._delete_all(prefix, before=None)

    def names_below(self, prefix: str) -> list[str]:
        """What comes in keys after `prefix` and `/`, up to the next `/`: each once, unordered."""
        with _asking(prefix):
            found = self._bucket.list_with_delimiter(checked(prefix))
        keys = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        # Some servers show what was a directory for them as an object.
        return [key.rpartition("/")[2] for key in keys if key != prefix]

    def forget_scratch(self, now: float) -> None:
        """Remove what processes of this machine that were killed left; `now` in epoch seconds."""
        self._scratch.forget(now)

    def forget_below(self, prefix: str, before: float) -> None:
        """Forget what was written below the prefix before that, by the bucket's clock."""
        self._delete_all(prefix, before)

    def keys_below(self, prefix: str, before: float) -> Iterator[str]:
        """The keys below of objects written before that, by the bucket's clock."""
        for keys in self._lists(prefix, before):
            yield from keys

    def check(self) -> None:
        """Raise Unavailable where the bucket cannot be listed or written to, or takes long."""
        with _asking(_CHECKED):
            self._impatient.list_with_delimiter(_CHECKED)
            self._impatient.put(_CHECKED, b"")

    def _put(self, key: str, content: bytes | Path) -> None:
        n_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
        bucket = self._bucket if n_bytes <= _LITTLE_BYTES else self._patient
        with _asking(key):
            bucket.put(
                checked(key), content, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )

    def _delete_all(self, prefix: str, before: float | None) -> None:
        for keys in self._lists(prefix, before):
            with _asking(prefix):
                self._bucket.delete(keys)

    def _lists(self, prefix: str, before: float | None) -> Iterator[list[str]]:
        """The keys below, many at a time, of objects written before that."""
        lists = iter(self._bucket.list(checked(prefix), chunk_size=1000))
        while True:
            with _asking(prefix):
                found = next(lists, None)
            if found is None:
                return
            keys = [each["path"] for each in found if _is_older(each, before)]
            if keys:
                yield keys


def _bucket(url: str, silent_seconds: float, retries: int) -> Bucket:
    client: ClientConfig = {
        # An endpoint of `https` is spoken to by TLS all the same.
        "allow_http": True,
        "timeout": timedelta(seconds=_WHOLE_SECONDS),
        "connect_timeout": timedelta(seconds=min(silent_seconds, _SILENT_SECONDS)),
        "read_timeout": timedelta(seconds=silent_seconds),
    }
    retry: RetryConfig = {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=_SILENT_SECONDS),
    }
    return Bucket.from_url(url, client_options=client, retry_config=retry)


@contextmanager
def _asking(key: str) -> Iterator[None]:
    """Failures of the store as the interface has them; the log alone gets their addresses."""
    try:
        yield
    except FileNotFoundError as error:
        # A bucket that is not there has none of its objects: that may be mended.
        if "NoSuchBucket" not in str(error):
            raise MissingObject(key) from None
        raise _unavailable(key, error) from error
    except BaseError as error:
        raise _unavailable(key, error) from error


def _unavailable(key: str, error: Exception) -> Unavailable:
    reason = str(error).partition("\n")[0]
    log.error("object_store_failed", key=key, reason=reason)
    return Unavailable("the object store does not answer")


def _is_older(found: Mapping[str, Any], before: float | None) -> bool:
    return before is None or found["last_modified"].timestamp() < before
