"""The one reader of the environment."""

import hashlib
import tempfile
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Linux refuses a unix socket whose path is longer than 107 bytes.
_LONGEST_SOCKET_PATH_BYTES = 100


class Settings(BaseSettings):
    """Every setting, read from `THALWEG_*` variables once and frozen.

    Sizes are in bytes, durations in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="THALWEG_", frozen=True)

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
        description="Object store, `file:///…`; unset: `objects/` in the data directory.",
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
    max_queued_fits: int = Field(
        default=100_000,
        ge=1,
        description="Most fits that wait at once; past it 503 with `Retry-After`.",
    )
    lease_seconds: float = Field(
        default=30,
        gt=0,
        description="How long a silent worker keeps its fit before it is taken back.",
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
        default=2, gt=0, description="How often lost wake-ups and expired leases are looked for."
    )
    inline_artifact_bytes: int = Field(
        default=65_536, ge=0, description="Artifacts up to this size stay in the database row."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith("file:///"):
            raise ValueError("must begin with file:///")
        return url

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
    def database_address(self) -> str:
        """The database in use, as SQLAlchemy's `make_url` takes it."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'thalweg.db'}"

    @property
    def storage_root(self) -> Path:
        """The directory of the local object store."""
        if self.storage_url is None:
            return self.data_dir.resolve() / "objects"
        return Path(self.storage_url.removeprefix("file://"))
