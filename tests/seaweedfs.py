"""An S3 of the tests' own: SeaweedFS, by the program of its wheel, in a temporary directory."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.ports import free_ports

BUCKET = "tests"
READER = "reader"
_KEYS = ("tests", "of-the-tests-alone")
_START_SECONDS = 60
_PARTS = ("master", "volume", "filer", "s3")


class SeaweedFS:
    """A server with one bucket; `environment` is what its clients need to reach it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        self._prefixes = count()
        self._ports = free_ports(2 * len(_PARTS))
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ("127.0.0.1", self._ports[_PARTS.index("s3")])
        key, secret = _KEYS
        self.environment = {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint(self.address),
        }

    def start(self) -> None:
        """Start it and wait until it takes objects."""
        key, secret = _KEYS
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": secret}],
                "actions": actions,
            }
            for name, actions in (
                (key, ["Admin", "Read", "Write", "List"]),
                (READER, ["Read", "List"]),
            )
        ]
        config = self._directory / "s3.json"
        config.write_text(json.dumps({"identities": identities}))
        data = self._directory / "data"
        data.mkdir(exist_ok=True)
        options = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 0,
            "s3": "true",
            "s3.config": config,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": self._directory / "filer.sock",
            "s3.localSocket": self._directory / "s3.sock",
        }
        for i, part in enumerate(_PARTS):
            options[f"{part}.port"] = self._ports[i]
            options[f"{part}.port.grpc"] = self._ports[len(_PARTS) + i]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(Path(sys.executable).with_name("weed")), "server"),
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def stop(self) -> None:
        """Kill it: nothing of it is needed any more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def new_url(self) -> str:
        """`THALWEG_STORAGE_URL` of a place without objects."""
        return f"s3://{BUCKET}/{next(self._prefixes)}"

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        key, secret = _KEYS
        bucket = S3Store(
            BUCKET,
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            access_key_id=key,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True, "timeout": "5s"},
            retry_config={"max_retries": 0},
        )
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                bucket.put("start", b"")
            except BaseError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(self._log.read_text())


def endpoint(address: tuple[str, int]) -> str:
    """`AWS_ENDPOINT_URL` of a server, or of what stands before it."""
    return "http://{}:{}".format(*address)


@contextmanager
def running_seaweedfs() -> Iterator[SeaweedFS]:
    """A server, until the block's end."""
    # The paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        server = SeaweedFS(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()
