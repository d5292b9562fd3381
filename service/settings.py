"""The one reader of the environment."""

import base64
import hashlib
import re
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from limits import RateLimitItem, parse
from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Linux refuses a unix socket whose path is longer than 107 bytes.
_LONGEST_SOCKET_PATH_BYTES = 100

_BUCKET = "s3://"
_STORAGE_URL = re.compile(r"file:///.*|s3://[a-z0-9][a-z0-9.-]+(/[^?#]*)?")

# The variable of Prometheus' client that says where all processes of a machine count.
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def parse_rate(rate: str) -> RateLimitItem:
    """A rate like `50/second` or `100/5 minutes`; raises ValueError for anything else."""
    return parse(rate)


def _n_bytes(encoded: str) -> int:
    """How many bytes the base64 text holds; 0 where it is none."""
    try:
        return len(base64.b64decode(encoded, validate=True))
    except ValueError:
        return 0


class Settings(BaseSettings):
    """Every setting, read from `THALWEG_*` variables once and frozen.

    Sizes are in bytes, durations in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="THALWEG_", frozen=True, hide_input_in_errors=True)

    data_dir: Path = Field(
        default=Path("thalweg-data"),
        description="Where the embedded database, objects and redis live.",
    )
    redis_url: str | None = Field(
        default=None,
        description="Redis to use; unset: one is started on a socket in the data directory.",
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; unset: SQLite in the data directory."
    )
    storage_url: str | None = Field(
        default=None,
        description="Object store, `file:///…` or `s3://bucket/prefix`; unset: `objects/` in the "
        "data directory.",
    )
    public_url: str | None = Field(
        default=None, description="Base of every URL in an answer; unset: the request's own."
    )
    max_request_bytes: int = Field(
        default=2 * 1024**3, ge=1, description="Largest body that is read; past it 413."
    )
    max_json_bytes: int = Field(
        default=256 * 1024**2,
        ge=1,
        description="Largest JSON body, for it is held in memory; past it 413.",
    )
    max_batch_bytes: int = Field(
        default=512 * 1024**2,
        ge=1,
        description="Most bytes that a batch's specs, tables and starting points come to; "
        "past it 422.",
    )
    max_inline_rows: int = Field(
        default=1_000_000,
        ge=1,
        description="Most rows of a dataset inside a JSON body; past it 422.",
    )
    max_parameters: int = Field(
        default=10_000_000, ge=1, description="Most parameters of a model; past it 422."
    )
    max_steps: int = Field(
        default=10_000_000, ge=1, description="Most updates of one fit; past it 422."
    )
    max_fit_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Most memory of one fit: past it by the estimate 422, past it between its "
        "steps the fit fails as `out_of_memory`; unset: no bound.",
    )
    max_worker_bytes: int | None = Field(
        default=None,
        ge=2**20,
        description="Most memory that one of a worker's processes may have held at once: past it, "
        "it is replaced once its work is done. One that is ready to compute holds about 700 MB; "
        "unset: no bound.",
    )
    max_queued_fits: int = Field(
        default=100_000,
        ge=1,
        description="Most fits that wait at once; past it 503 with `Retry-After`.",
    )
    rate_limit: str | None = Field(
        default=None,
        description="Most requests of an owner, like `50/second`; past it 429; unset: no limit.",
    )
    max_owner_queued_fits: int | None = Field(
        default=None, ge=1, description="Most fits of an owner that wait at once; past it 429."
    )
    max_owner_running_fits: int | None = Field(
        default=None,
        ge=1,
        description="Most fits of an owner that run at once; others wait their turn.",
    )
    max_owner_stored_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Most bytes of an owner's datasets and artifacts; past it 429.",
    )
    max_rows: int | None = Field(
        default=None, ge=1, description="Most rows of a dataset; past it 422."
    )
    lease_seconds: float = Field(
        default=30,
        gt=0,
        description="How long a silent worker keeps its fit before it is taken back.",
    )
    checkpoint_seconds: float = Field(
        default=5,
        gt=0,
        description="How often a running fit is written down, for another worker to go on from.",
    )
    max_attempts: int = Field(
        default=5,
        ge=1,
        description="Workers that one fit may lose before it fails as `worker_lost`.",
    )
    retention_seconds: float | None = Field(
        default=None, gt=0, description="How long datasets and ended fits are kept; unset: always."
    )
    sweep_seconds: float = Field(
        default=1, gt=0, description="How often lost wake-ups and expired leases are looked for."
    )
    orphan_seconds: float = Field(
        default=3600,
        gt=0,
        description="How old an object that no row names is when it is forgotten.",
    )
    stream_seconds: float = Field(
        default=3600,
        gt=0,
        description="How long an event stream stays open before its client is to come again.",
    )
    inline_artifact_bytes: int = Field(
        default=65_536,
        ge=0,
        description="Artifacts that compress to this size stay in the database row.",
    )
    worker_metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Where a worker of its own serves metrics; unset: nowhere.",
    )
    gpu: bool = Field(
        default=False,
        description="Whether a worker takes `fits.gpu`; without one `device: cuda` is refused.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="What messages to webhooks are signed with, `whsec_…`; unset: none are sent.",
    )
    webhook_allow_private: bool = Field(
        default=False,
        description="Whether webhooks may lie at loopback and private addresses.",
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        BeforeValidator(lambda name: name.upper() if isinstance(name, str) else name),
    ] = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, url: str | None) -> str | None:
        if url is not None and not _STORAGE_URL.fullmatch(url):
            raise ValueError("must be file:///… or s3://bucket/prefix")
        return url

    @field_validator("rate_limit")
    @classmethod
    def _known_rate(cls, rate: str | None) -> str | None:
        if rate is not None:
            parse_rate(rate)
        return rate

    @field_validator("webhook_secret")
    @classmethod
    def _usable_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        # The numbers are those of Standard Webhooks.
        prefix, encoded = "whsec_", "" if secret is None else secret.get_secret_value()
        if secret is not None and not (
            encoded.startswith(prefix) and 24 <= _n_bytes(encoded.removeprefix(prefix)) <= 64  # noqa: PLR2004
        ):
            raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
        return secret

    @property
    def redis_socket(self) -> Path:
        """The socket of the embedded redis, short enough for the kernel."""
        data_dir = self.data_dir.resolve()
        socket = data_dir / "redis.sock"
        if len(bytes(socket)) <= _LONGEST_SOCKET_PATH_BYTES:
            return socket
        name = hashlib.sha256(bytes(data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"thalweg-{name}.sock"

    @property
    def redis_address(self) -> str:
        """The redis in use, as redis-py's `from_url` takes it."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def database_file(self) -> Path | None:
        """The embedded database; None where another one is used."""
        return self.data_dir.resolve() / "thalweg.db" if self.database_url is None else None

    @property
    def database_address(self) -> str:
        """The database in use, as SQLAlchemy's `make_url` takes it."""
        return self.database_url or f"sqlite:///{self.database_file}"

    @property
    def bucket_url(self) -> str | None:
        """The bucket and prefix of the object store; None where it is a directory."""
        url = self.storage_url
        return url if url is not None and url.startswith(_BUCKET) else None

    @property
    def storage_root(self) -> Path:
        """The directory of the object store; raises ValueError where it is a bucket."""
        if self.bucket_url is not None:
            raise ValueError(f"{self.bucket_url} is no directory")
        if self.storage_url is None:
            return self.data_dir.resolve() / "objects"
        return Path(self.storage_url.removeprefix("file://"))
