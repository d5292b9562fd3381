"""`thalweg fit`, `sweep`, `get` and `watch`.

Exit codes: 0 done; 1 refused, with what to mend; 2 wrong usage; 3 a fit failed; 4 a fit was
cancelled; 5 the service does not answer. With `--json` stdout has the answer and nothing else.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from service.client import specs
from service.client.http import Refused, Service, Unreachable
from service.client.showing import BatchBar, FitBar, show_best, show_fit

REFUSED, FAILED, CANCELLED, UNREACHABLE = 1, 3, 4, 5
_ENDS: Mapping[str, int] = {"succeeded": 0, "failed": FAILED, "cancelled": CANCELLED}
_DEFAULT_URL = "http://127.0.0.1:8000"
# What an id's prefix says is asked for.
_PATHS = {"fit": "fits", "bat": "batches", "lrt": "lr-range-tests", "ds": "datasets"}
_N_SHOWN = 10
# What is meant where only arguments are given.
_PLAIN = {"model": "linear", "optimizer": "sgd"}

Url = Annotated[str, typer.Option(envvar="THALWEG_URL", help="The service's address.")]
Key = Annotated[
    str | None,
    typer.Option(envvar="THALWEG_KEY", help="The API key, where the service asks for one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else.")]
Data = Annotated[str, typer.Argument(help="A table's file, or a dataset's id.")]
Target = Annotated[str, typer.Option(help="The target column, or several between commas.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any member of the spec: optimizer.momentum=0.9; any number."),
]
Detached = Annotated[bool, typer.Option(help="Queue it, print its id, and do not wait.")]


def install(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (fit, sweep, get, watch):
        app.command()(command)


def fit(  # noqa: PLR0913, PLR0917 (each is an option)
    data: Data,
    target: Target,
    features: Annotated[str | None, typer.Option(help="Columns between commas.")] = None,
    model: Annotated[str | None, typer.Option(help="linear, logistic, mlp, …")] = None,
    degree: Annotated[int | None, typer.Option(help="A polynomial's.")] = None,
    hidden: Annotated[str | None, typer.Option(help="An mlp's layers: 16,16.")] = None,
    activation: Annotated[str | None, typer.Option(help="An mlp's: relu, tanh, …")] = None,
    loss: Annotated[str | None, typer.Option(help="mse, huber, bce, cross_entropy, …")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam, lbfgs, …")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates, instead of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Default: all rows.")] = None,
    standardize: Annotated[bool, typer.Option(help="Scale the features.")] = False,
    validation: Annotated[float | None, typer.Option(help="The share held out.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    set_: Settings = None,
    detach: Detached = False,
    as_json: AsJson = False,
    url: Url = _DEFAULT_URL,
    key: Key = None,
) -> None:
    """Fit a model to a table, and show the loss as it falls."""
    given = {
        "features": specs.listed(features),
        "model.kind": _named_model(model, degree, hidden, activation),
        "model.degree": degree,
        "model.hidden": specs.numbers(hidden) if hidden is not None else None,
        "model.activation": activation,
        "loss.kind": loss,
        "optimizer.kind": optimizer,
        "optimizer.lr": lr,
        "epochs": epochs if steps is not None or epochs is not None else 100,
        "steps": steps,
        "batch_size": batch_size,
        "standardize": standardize or None,
        "validation.fraction": validation,
        "seed": seed,
        "dtype": dtype,
    }
    with _service(url, key) as service:
        body = _body(service, data, target, given, set_)
        _begin(service, "/v1/fits", body, detach=detach, as_json=as_json)


def sweep(  # noqa: PLR0913, PLR0917 (each is an option)
    data: Data,
    target: Target,
    grid: Annotated[
        list[str] | None, typer.Option(help="An axis: optimizer.lr=0.1,0.01; any number.")
    ] = None,
    random: Annotated[
        list[str] | None, typer.Option(help="optimizer.lr=log_uniform:1e-4:1; any number.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many random fits.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the random draws.")] = 0,
    metric: Annotated[str, typer.Option(help="What names the best.")] = "final_loss",
    set_: Settings = None,
    detach: Detached = False,
    as_json: AsJson = False,
    url: Url = _DEFAULT_URL,
    key: Key = None,
) -> None:
    """Fit a model many times, over a grid or random draws, and show the best."""
    with _service(url, key) as service:
        if bool(grid) == bool(random):
            raise Refused(["give --grid axes or --random draws, one of the two"])
        base = _body(service, data, target, {}, set_)
        if not {"epochs", "steps"} & {*base, *specs.grid(grid or []), *specs.space(random or [])}:
            base["epochs"] = 100
        body: dict[str, Any] = {"base": base, "select": {"metric": metric}}
        if grid:
            body["grid"] = specs.grid(grid)
        else:
            body["random"] = {"n": n, "seed": seed, "space": specs.space(random or [])}
        _begin(service, "/v1/batches", body, detach=detach, as_json=as_json)


def get(
    job_id: Annotated[str, typer.Argument(help="A fit's, batch's, range test's or dataset's.")],
    as_json: AsJson = False,
    url: Url = _DEFAULT_URL,
    key: Key = None,
) -> None:
    """Show what there is under an id."""
    with _service(url, key) as service:
        found = service.get(_path(job_id))
        if as_json or found["object"] not in ("fit", "batch"):
            _print(found, as_json=True)
        elif found["object"] == "fit":
            show_fit(Console(), found)
        else:
            show_best(Console(), found, _best(service, found))


def watch(
    job_id: Annotated[str, typer.Argument(help="A fit's or a batch's.")],
    as_json: AsJson = False,
    url: Url = _DEFAULT_URL,
    key: Key = None,
) -> None:
    """Follow a fit or a batch to its end."""
    with _service(url, key) as service:
        begun = service.get(_path(job_id))
        if begun["object"] == "dataset":
            raise Refused([f"{job_id} is a dataset: there is nothing to wait for"])
        _follow(service, begun, as_json=as_json)


def _named_model(
    model: str | None, degree: int | None, hidden: str | None, activation: str | None
) -> str | None:
    """What is meant where only its arguments are given."""
    if model is not None:
        return model
    if hidden is not None or activation is not None:
        return "mlp"
    return "polynomial" if degree is not None else None


def _body(
    service: Service,
    data: str,
    target: str,
    given: Mapping[str, Any],
    settings: list[str] | None,
) -> dict[str, Any]:
    dataset = data if data.startswith("ds_") else service.upload(Path(data))["id"]
    targets = specs.listed(target) or []
    named = {"dataset": dataset, "target": targets[0] if len(targets) == 1 else targets}
    body = specs.merged(named | dict(given), settings or [])
    for name, kind in _PLAIN.items():
        if isinstance(body.get(name), dict):
            body[name] = {"kind": kind} | body[name]
    return body


def _begin(
    service: Service, path: str, body: Mapping[str, Any], *, detach: bool, as_json: bool
) -> None:
    """Queue it; then follow it, unless the caller goes on without it."""
    begun = service.post(path, body)
    if detach:
        _print(begun if as_json else begun["id"], as_json=as_json)
    else:
        _follow(service, begun, as_json=as_json)


def _follow(service: Service, begun: Mapping[str, Any], *, as_json: bool) -> None:
    follow = _follow_batch if begun["object"] == "batch" else _follow_fit
    follow(service, begun, as_json=as_json)


def _follow_fit(service: Service, begun: Mapping[str, Any], *, as_json: bool) -> None:
    path = _path(begun["id"])
    ended = begun["status"] in _ENDS
    if not (as_json or ended):
        with service.events(f"{path}/events") as events:
            FitBar(Console(stderr=True)).follow(begun, events)
    found = service.wait(path)
    while found["status"] not in _ENDS:
        found = service.wait(path)
    if as_json or found["object"] != "fit":
        _print(found, as_json=True)
    else:
        show_fit(Console(), found)
    raise typer.Exit(_ENDS[found["status"]])


def _follow_batch(service: Service, begun: Mapping[str, Any], *, as_json: bool) -> None:
    path = _path(begun["id"])
    found = dict(begun)
    bar = BatchBar(Console(stderr=True), found["n_fits"])
    with nullcontext() if as_json else bar.bar:
        while found["status"] not in _ENDS:
            found = service.get(path, Prefer="wait=1")
            bar.update(found["counts"])
    if as_json:
        _print(found, as_json=True)
    else:
        show_best(Console(), found, _best(service, found))
    failed = found["counts"]["failed"] + found["counts"]["cancelled"]
    raise typer.Exit(FAILED if failed else _ENDS[found["status"]])


def _best(service: Service, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The best members, each with what the sweep varied."""
    better = 1 if batch["select"]["mode"] == "min" else -1
    rows = [json.loads(line) for line in service.lines(f"{_path(batch['id'])}/results.ndjson")]
    metric = batch["select"]["metric"]
    scored = [(value, row) for row in rows if (value := _metric(row, metric)) is not None]
    scored.sort(key=lambda pair: better * pair[0])
    return [
        {"id": row["id"], **row["varied"], metric: value, "status": row["status"]}
        for value, row in scored[:_N_SHOWN]
    ]


def _metric(row: Mapping[str, Any], metric: str) -> float | None:
    found: Any = row if metric == "final_loss" else row["metrics"]
    for name in metric.split("."):
        found = (found or {}).get(name)
    return found if isinstance(found, int | float) else None


def _path(job_id: str) -> str:
    kind = _PATHS.get(job_id.partition("_")[0])
    if kind is None:
        raise Refused([f"{job_id!r} is no id: ids begin with {', '.join(_PATHS)} and _"])
    return f"/v1/{kind}/{job_id}"


def _print(found: Any, *, as_json: bool) -> None:
    typer.echo(json.dumps(found, indent=2) if as_json else found)


@contextmanager
def _service(url: str, key: str | None) -> Iterator[Service]:
    """The service, and its refusals as lines on stderr and exit codes."""
    service = Service(url, key)
    try:
        yield service
    except Refused as refusal:
        for line in refusal.lines:
            typer.echo(f"thalweg: {line}", err=True)
        raise typer.Exit(REFUSED) from refusal
    except Unreachable as error:
        typer.echo(f"thalweg: {error}", err=True)
        raise typer.Exit(UNREACHABLE) from error
    finally:
        service.close()
