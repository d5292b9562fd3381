"""One service a data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import StartFailed

_NAME = "serve.lock"


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Hold the directory, made if need be, for this process; the kernel lets go where it dies.

    Raises StartFailed where another process holds it or it cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        path = data_dir / _NAME
        descriptor = _lock(path)
    except OSError as error:
        raise StartFailed(f"cannot use the data directory {data_dir}: {error.strerror}") from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StartFailed(
                f"process {holder or 'unknown'} serves {path.parent} already: "
                "stop it, or choose another --data-dir"
            ) from None
        if _is_still_there(path, descriptor):
            return descriptor
        # Its holder removed the file between our open and our lock: this lock is worth nothing.
        os.close(descriptor)


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
