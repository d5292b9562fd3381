"""The `thalweg` command.

Exit codes of what runs the service: 0 done, 1 refused or failed with the reason on stderr, 2 wrong
usage. Those of the client are in `service.client.exits`, and mean the same as far as these go.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from service import keys as key_admin
from service import launcher
from service.client import commands as client_commands
from service.client.exits import EPILOG
from service.database import Database
from service.database import migrate as migrate_database
from service.errors import NotFound, ThalwegError
from service.queue import LONG_QUEUES, QUICK_QUEUES
from service.settings import METRICS_DIRECTORY, Settings
from service.telemetry import configure_logging

# Where the help lists what is not the client's.
_SERVICE = "Service"

app = typer.Typer(no_args_is_help=True)
client_commands.install(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thalweg {metadata.version('thalweg')}")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Thalweg fits models over HTTP: a service, and its client for terminals."""


DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the service keeps its files; default: THALWEG_DATA_DIR."),
]
Concurrency = Annotated[int, typer.Option(min=1, help="Fits computed at once.")]


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


_DEFAULT_CONCURRENCY = max(2, available_cores())
_ALL_QUEUES = ",".join((*LONG_QUEUES, *QUICK_QUEUES))


@app.command(rich_help_panel=_SERVICE)
def serve(
    host: Annotated[
        str, typer.Option(help="A loopback address; any one, once there are keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    data_dir: DataDir = None,
    workers: Concurrency = _DEFAULT_CONCURRENCY,
) -> None:
    """Serve until Ctrl-C or SIGTERM: redis, workers and the API, each started again if it dies."""
    with _reasons():
        settings = _settings(data_dir)
        configure_logging(settings)
        launcher.serve(settings, host, port, workers, _announce)


@app.command(rich_help_panel=_SERVICE)
def worker(
    queues: Annotated[str, typer.Option(help="Comma-separated.")] = _ALL_QUEUES,
    concurrency: Concurrency = _DEFAULT_CONCURRENCY,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Serve Prometheus metrics there.")
    ] = None,
) -> None:
    """Run a worker on the redis, database and store of the environment; SIGTERM drains it."""
    with _reasons():
        _settings(None)
        if metrics_port is not None:
            os.environ["THALWEG_WORKER_METRICS_PORT"] = str(metrics_port)
            made = tempfile.mkdtemp(prefix="thalweg-metrics-")
            os.environ.setdefault(METRICS_DIRECTORY, made)
        command = launcher.worker_command(queues, concurrency)
        os.execv(command[0], command)


@app.command(rich_help_panel=_SERVICE)
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database's schema up to date."""
    with _reasons():
        settings = _settings(data_dir)
        configure_logging(settings)
        migrate_database(settings)


keys = typer.Typer(help="API keys: who may ask for what.", no_args_is_help=True)
app.add_typer(keys, name="keys", rich_help_panel=_SERVICE)


@keys.command("create")
def create_key(
    owner: Annotated[str, typer.Option(help="Whose the key is: owners see their own alone.")],
    scopes: Annotated[str, typer.Option(help="Of read, write, admin; comma-separated.")],
    data_dir: DataDir = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="A limit of this key's, as NAME=VALUE: max_steps=1000; any number."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a key; it is shown this once. From the first one on the service asks for keys."""
    with _reasons(), _database(data_dir) as database:
        limits = key_admin.limits_of(limit or [])
        made = key_admin.create_key(database, owner, scopes.split(","), limits)
    _print(made, as_json=as_json)


@keys.command("list")
def list_keys(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every key's id, owner, scopes and limits; never a key."""
    with _reasons(), _kept_database(data_dir) as database:
        found = key_admin.list_keys(database)
    if as_json:
        _print(found, as_json=True)
        return
    for one in found:
        state = "revoked" if one["revoked_at"] else "holds"
        told = (one["id"], one["owner"], _listed(one["scopes"]), state, _listed(one["limits"]))
        typer.echo("  ".join(filter(None, told)))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """Have a key hold no longer; running services notice within 10 seconds."""
    with _reasons(), _kept_database(data_dir) as database:
        key_admin.revoke_key(database, key_id)
    typer.echo(f"{key_id}: revoked")


def _print(found: Any, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        shown = _listed(value) if isinstance(value, list | dict) else value
        if shown:
            typer.echo(f"{name}: {shown}")


def _listed(values: list[str] | dict[str, Any]) -> str:
    """As the options of `keys create` take them."""
    if isinstance(values, dict):
        values = [f"{name}={value}" for name, value in values.items()]
    return ",".join(values)


@contextmanager
def _kept_database(data_dir: Path | None) -> Iterator[Database]:
    """The database of a service that there is; raises NotFound where nothing was ever kept."""
    file = _settings(data_dir).database_file
    if file is not None and not file.exists():
        raise NotFound(f"no service has kept anything in {file.parent}")
    with _database(data_dir) as database:
        yield database


@contextmanager
def _database(data_dir: Path | None) -> Iterator[Database]:
    """The service's database, made or brought up to date if need be."""
    settings = _settings(data_dir)
    # A person looks on: what goes well is no news.
    configure_logging(settings.model_copy(update={"log_level": "WARNING"}))
    migrate_database(settings)
    database = Database(settings.database_address)
    try:
        yield database
    finally:
        database.close()


@app.command(rich_help_panel=_SERVICE)
def demo(
    out_dir: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("demo-output"),
) -> None:
    """Fit the course notebook's line over HTTP, on a service that ends with it."""
    # It needs numpy and httpx, which `serve` need not wait for.
    from service.demo import run_demo  # noqa: PLC0415

    with _reasons():
        run_demo(out_dir, Console())


@app.command(rich_help_panel=_SERVICE)
def openapi() -> None:
    """Print the OpenAPI document that the code describes, as YAML."""
    # The API's modules are for the API's process: the launcher does without them.
    from service.api import create_app  # noqa: PLC0415
    from service.api.documentation import as_yaml  # noqa: PLC0415

    with _reasons():
        typer.echo(as_yaml(create_app()), nl=False)


def _announce(url: str) -> None:
    typer.echo(f"Thalweg serves on {url}")
    sys.stdout.flush()


def _settings(data_dir: Path | None) -> Settings:
    return Settings() if data_dir is None else Settings(data_dir=data_dir)


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what a person can mend into a line on stderr and exit code 1."""
    try:
        yield
    except ThalwegError as error:
        typer.echo(f"thalweg: {error.detail}", err=True)
        raise typer.Exit(1) from error
    except ValidationError as error:
        for fault in error.errors():
            name = "THALWEG_" + "_".join(map(str, fault["loc"])).upper()
            typer.echo(f"thalweg: {name}: {fault['msg']}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app(prog_name="thalweg")
