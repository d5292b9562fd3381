"""`thalweg fit`, `sweep`, `get`, `watch`, `cancel`, `delete`, `list` and `upload`."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.client import options, specs
from service.client.errors import ClientError, Interrupted, Refused, WrongUsage
from service.client.exits import EPILOG, Exit, exit_of
from service.client.following import follow
from service.client.http import Service
from service.client.options import AnyId, AsJson, Data, Detached, JobId, taking
from service.client.showing import Page, leave_stdout, show, show_batch, show_list

Asked = Callable[[], Service]
Said = Callable[[], dict[str, Any]]

# What an id's prefix says is asked for.
_PATHS = {"fit": "fits", "bat": "batches", "lrt": "lr-range-tests", "ds": "datasets"}
_ID = re.compile(rf"({'|'.join(_PATHS)})_[0-9A-Za-z]+")
_RANDOM_FITS = 20
_ENDED = "conflict"


class Listed(StrEnum):
    """What there are lists of."""

    FITS = "fits"
    BATCHES = "batches"
    RANGE_TESTS = "lr-range-tests"
    DATASETS = "datasets"


def install(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for name, (command, examples) in _COMMANDS.items():
        shown = "\n".join(["Examples:", *(f"  {example}" for example in examples), "", EPILOG])
        app.command(name, epilog=shown, rich_help_panel="Client")(command)


@taking(said=options.spec, asked=options.service)
def fit(  # noqa: PLR0917 (each is an option)
    data: Data,
    said: Said,
    asked: Asked,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The seed of the initial weights, the shuffles and the rows held out.",
            show_default="0",
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    detach: Detached = False,
    as_json: AsJson = False,
) -> None:
    """Fit a model to a table, and show the loss as it falls."""
    with _answering(asked) as service:
        body = said()
        if seed is not None:
            body.setdefault("seed", seed)
        body = specs.completed(body)
        body["dataset"] = _dataset(service, data)
        _begin(service, "/v1/fits", body, detach=detach, as_json=as_json)


@taking(said=options.spec, asked=options.service)
def sweep(  # noqa: PLR0913, PLR0917 (each is an option)
    data: Data,
    said: Said,
    asked: Asked,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=VALUES",
            help="Values between commas, as often as you like: optimizer.lr=0.1,0.01 or "
            "model.hidden=[4,4],[8,8]. There is a fit for each combination.",
            show_default=False,
        ),
    ] = None,
    random: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=DRAW",
            help="What to draw for each fit, as often as you like: "
            "optimizer.lr=log_uniform:1e-4:1. There are uniform:low:high, log_uniform:low:high, "
            "normal:mean:std, integers:low:high, and values between commas.",
            show_default=False,
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", metavar="N", min=1, help="How many random fits.", show_default=str(_RANDOM_FITS)
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The seed of the random draws; the fits' own is --set seed=N, or "
            "--grid seed=0,1,2.",
            show_default="0",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What the best is chosen by: final_loss, train.r2, validation.loss, "
            "validation.accuracy, …",
        ),
    ] = "final_loss",
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The batch's name.", show_default=False)
    ] = None,
    detach: Detached = False,
    as_json: AsJson = False,
) -> None:
    """Fit a model many times, over a grid or random draws, and show the best."""
    with _answering(asked) as service:
        many = _many(grid or [], random or [], n, seed)
        axes = [*many["grid"]] if "grid" in many else [*many["random"]["space"]]
        base = specs.completed(said(), axes)
        base["dataset"] = _dataset(service, data)
        named = {} if name is None else {"name": name}
        body = {"base": base, "select": {"metric": metric}} | many | named
        _begin(service, "/v1/batches", body, detach=detach, as_json=as_json)


@taking(asked=options.service)
def get(job_id: AnyId, asked: Asked, as_json: AsJson = False) -> None:
    """Show what there is under an id."""
    with _answering(asked) as service:
        _show(service, service.get(_path(job_id)), as_json=as_json)


@taking(asked=options.service)
def watch(job_id: JobId, asked: Asked, as_json: AsJson = False) -> None:
    """Follow a fit, a sweep or a range test to its end."""
    with _answering(asked) as service:
        path = _path_of_a_job(job_id)
        _follow(service, service.get(path), as_json=as_json)


@taking(asked=options.service)
def cancel(job_id: JobId, asked: Asked, as_json: AsJson = False) -> None:
    """End a fit, a sweep or a range test before its time; what it has so far is kept."""
    with _answering(asked) as service:
        path = _path_of_a_job(job_id)
        found = _cancelled(service, path)
        if as_json:
            _print_json(found)
        else:
            typer.echo(f"{job_id}: {found['status']}")


@taking(asked=options.service)
def delete(job_id: AnyId, asked: Asked, as_json: AsJson = False) -> None:
    """Forget an ended job, or a dataset that none needs any more."""
    with _answering(asked) as service:
        service.delete(_path(job_id))
        # The answer has no body.
        if not as_json:
            typer.echo(f"{job_id}: deleted")


@taking(asked=options.service)
def list_(
    asked: Asked,
    what: Annotated[Listed, typer.Argument(metavar="WHAT", help="What to list.")] = Listed.FITS,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="How many, from the newest on.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """List fits, batches, range tests or datasets, newest first."""
    with _answering(asked) as service:
        found = service.get(f"/v1/{what.value}?limit={limit}")
        if as_json:
            _print_json(found)
        else:
            show_list(Page(), found)


@taking(asked=options.service)
def upload(  # noqa: PLR0917 (each is an option)
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A table's file (.csv, .parquet, .npz, …, also .csv.gz).",
            show_default=False,
        ),
    ],
    asked: Asked,
    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The dataset's name.", show_default="the file's"),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="CHARACTER", help="Between a CSV's fields.", show_default=","),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option("--no-header", help="A CSV's first row is data: columns are 0, 1, …"),
    ] = False,
    drop_missing: Annotated[
        bool,
        typer.Option(
            "--drop-missing", help="Leave rows out that lack a value, instead of refusing them."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a table, for `thalweg fit` by its id."""
    with _answering(asked) as service:
        given = {
            "name": name or file.name,
            "delimiter": delimiter,
            "header": "false" if no_header else None,
            "missing": "drop" if drop_missing else None,
        }
        asked_for = {key: value for key, value in given.items() if value is not None}
        _show(service, service.upload(file, **asked_for), as_json=as_json)


# Each under its name, with what its help shows.
_COMMANDS: Mapping[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "fit": (
        fit,
        (
            "thalweg fit data.csv --target y --lr 0.01 --steps 500",
            "thalweg fit data.csv --target y --hidden 16,16 --validation 0.2",
            "thalweg fit data.csv --target label --model softmax --json",
            "thalweg fit data.csv --target y --set optimizer.momentum=0.9",
        ),
    ),
    "sweep": (
        sweep,
        (
            "thalweg sweep data.csv --target y --grid optimizer.lr=0.1,0.01",
            "thalweg sweep data.csv --target y --grid seed=1,2,3 --grid batch_size=2,4",
            "thalweg sweep data.csv --target y --grid model.hidden=[4,4],[16]",
            "thalweg sweep data.csv --target y --random optimizer.lr=uniform:0:0.1 -n 50",
        ),
    ),
    "get": (get, ("thalweg get fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4C --json",)),
    "watch": (watch, ("thalweg watch bat_01KB2Q3M6X8T5V9W0Y1Z2A3B4C",)),
    "cancel": (cancel, ("thalweg cancel fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4C",)),
    "delete": (delete, ("thalweg delete ds_01KB2Q3M6X8T5V9W0Y1Z2A3B4C",)),
    "list": (list_, ("thalweg list", "thalweg list datasets --limit 100 --json")),
    "upload": (upload, ("thalweg upload data.csv --delimiter ';' --drop-missing",)),
}


def _many(grid: list[str], random: list[str], n: int | None, seed: int | None) -> dict[str, Any]:
    """What the sweep varies, as a batch's body has it."""
    if bool(grid) == bool(random):
        raise WrongUsage("give --grid axes or --random draws, one of the two")
    if random:
        drawn = {"n": _RANDOM_FITS if n is None else n, "seed": seed or 0}
        return {"random": drawn | {"space": specs.space(random)}}
    if n is not None or seed is not None:
        raise WrongUsage(
            "-n and --seed are of --random; a grid has a fit for each combination, and the fits' "
            "own seed is --set seed=N, or an axis: --grid seed=0,1,2"
        )
    return {"grid": specs.grid(grid)}


def _dataset(service: Service, data: str) -> str:
    """The dataset's id, once it is kept."""
    path = Path(data)
    if re.fullmatch(r"ds_[0-9A-Za-z]+", data) and not path.exists():
        return data
    return str(service.upload(path, name=path.name)["id"])


def _begin(
    service: Service, path: str, body: Mapping[str, Any], *, detach: bool, as_json: bool
) -> None:
    """Queue it; then follow it, unless the caller goes on without it."""
    begun = service.post(path, body)
    if not detach:
        _follow(service, begun, as_json=as_json)
    elif as_json:
        _print_json(begun)
    else:
        typer.echo(begun["id"])


def _follow(service: Service, begun: Mapping[str, Any], *, as_json: bool) -> None:
    found = follow(service, _path(begun["id"]), begun, silent=as_json)
    _show(service, found, as_json=as_json)
    raise typer.Exit(exit_of(found))


def _show(service: Service, found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(found)
    elif found["object"] == "batch":
        lines = service.lines(f"{_path(found['id'])}/results.ndjson")
        show_batch(Page(), found, [json.loads(line) for line in lines])
    else:
        show(Page(), found)


def _cancelled(service: Service, path: str) -> dict[str, Any]:
    """The job, cancelled now, or by a request of ours whose answer was lost."""
    try:
        return service.post(f"{path}/cancel")
    except Refused as refusal:
        found = service.get(path) if refusal.code == _ENDED else {}
        if found.get("status") != "cancelled":
            raise
        return found


def _path(job_id: str) -> str:
    known = _ID.fullmatch(job_id)
    if known is None:
        raise WrongUsage(f"{job_id!r} is no id: those begin with {'_, '.join(_PATHS)}_")
    return f"/v1/{_PATHS[known[1]]}/{job_id}"


def _path_of_a_job(job_id: str) -> str:
    if job_id.startswith("ds_"):
        raise WrongUsage(f"{job_id} is a dataset, which neither runs nor ends")
    return _path(job_id)


def _print_json(found: Any) -> None:
    typer.echo(json.dumps(found, indent=2))


@contextmanager
def _answering(asked: Asked) -> Iterator[Service]:
    """The service, and whatever ends a command as lines on stderr and an exit code."""
    try:
        with asked() as service:
            yield service
        # A reader who left is noticed here, and not at the interpreter's end.
        sys.stdout.flush()
    except ClientError as error:
        raise _ended_by(error) from error
    except KeyboardInterrupt:
        raise _ended_by(Interrupted("interrupted")) from None
    except OSError as error:
        # Files that are sent have been looked at, and connections have errors of their own.
        leave_stdout()
        if not isinstance(error, BrokenPipeError):
            typer.echo(f"thalweg: stdout cannot be written: {error.strerror}", err=True)
        raise typer.Exit(Exit.UNWRITABLE) from None


def _ended_by(error: ClientError) -> typer.Exit:
    for line in error.lines:
        typer.echo(f"thalweg: {line}", err=True)
    return typer.Exit(error.exit)
