"""The `thalweg` command.

Exit codes: 0 done, 1 refused or failed with the reason on stderr, 2 wrong usage.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from service import launcher
from service.database import migrate as migrate_database
from service.errors import ThalwegError
from service.queue import LONG_QUEUES, QUICK_QUEUES
from service.settings import Settings
from service.telemetry import configure_logging

app = typer.Typer(help="Thalweg fits models over HTTP.", no_args_is_help=True)

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


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    data_dir: DataDir = None,
    workers: Concurrency = _DEFAULT_CONCURRENCY,
) -> None:
    """Serve until Ctrl-C or SIGTERM: redis, workers and the API, each started again if it dies."""
    with _reasons():
        settings = _settings(data_dir)
        configure_logging(settings)
        launcher.serve(settings, host, port, workers, _announce)


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="Comma-separated.")] = _ALL_QUEUES,
    concurrency: Concurrency = _DEFAULT_CONCURRENCY,
) -> None:
    """Run a worker on the redis, database and store of the environment; SIGTERM drains it."""
    with _reasons():
        _settings(None)
        command = launcher.worker_command(queues, concurrency)
        os.execv(command[0], command)


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database's schema up to date."""
    with _reasons():
        settings = _settings(data_dir)
        configure_logging(settings)
        migrate_database(settings)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("demo-output"),
) -> None:
    """Fit the course notebook's line over HTTP, on a service that ends with it."""
    # It needs numpy and httpx, which `serve` need not wait for.
    from service.demo import run_demo  # noqa: PLC0415

    with _reasons():
        run_demo(out_dir, Console())


@app.command()
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
    app()
