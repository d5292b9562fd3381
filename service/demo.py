"""The course notebook's fit over real HTTP, on a service of its own that ends with it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import httpx
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.errors import DemoFailed, StartFailed

_START_WEIGHTS = {"weight": [[-3.0]], "bias": [-2.0]}
_LR = 0.01
_STEPS = 7_000
_READY_LINE = "Thalweg serves on "

# The notebook's own draw of 100 points on y = 3 + 2x, with noise from 0 to 1.
NOTEBOOK: dict[str, Any] = {
    "kind": "linear",
    "n": 100,
    "seed": 42,
    "x": {"uniform": [-1, 1]},
    "coef": [2],
    "intercept": 3,
    "noise": {"uniform": [0, 1]},
}


def run_demo(out_dir: Path, console: Console) -> None:
    """Start a service, fit, print, save the pictures into `out_dir`, stop the service.

    Raises StartFailed where the service does not start, DemoFailed where it refuses something.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="thalweg-demo-") as data_dir:
        console.print("Starting the service: redis, two workers, the API.")
        console.print("A machine's first start compiles the loops, which takes a minute or two …")
        with _service(Path(data_dir)) as url, httpx.Client(base_url=url, timeout=60) as client:
            console.print(f"It serves on {url}")
            fit = _fit_notebook(client, console)
            _report(fit, _columns(client, fit), console)
            _save_pictures(client, fit, out_dir, console)


@contextmanager
def _service(data_dir: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    with (
        (data_dir / "demo.log").open("w+") as messages,
        subprocess.Popen(
            [*command, "--data-dir", str(data_dir)],
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
        ) as process,
    ):
        try:
            yield _url(process, messages)
        finally:
            process.terminate()


def _url(process: "subprocess.Popen[str]", messages: TextIO) -> str:
    for line in process.stdout or ():
        if line.startswith(_READY_LINE):
            return line.removeprefix(_READY_LINE).strip()
    messages.seek(0)
    raise StartFailed(f"the service did not start:\n{messages.read()}")


def _fit_notebook(client: httpx.Client, console: Console) -> dict[str, Any]:
    body = {"name": "notebook", "generator": NOTEBOOK}
    dataset = _json(client.post("/v1/datasets", json=body))
    console.print(f"Drew {dataset['n_rows']} rows as {dataset['id']}, {dataset['digest']}")
    spec = {
        "dataset": dataset["id"],
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": _LR},
        "steps": _STEPS,
        "init": {"weights": _START_WEIGHTS},
        "dtype": "float64",
    }
    fit = _json(client.post("/v1/fits", json=spec))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("Gradient descent", total=_STEPS)
        while fit["status"] in ("queued", "running"):
            fit = _json(client.get(f"/v1/fits/{fit['id']}", headers={"Prefer": "wait=1"}))
            bar.update(task, completed=fit["progress"]["step"])
    if fit["status"] != "succeeded":
        raise DemoFailed(f"the fit {fit['status']}: {fit['error']}")
    return fit


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise DemoFailed(f"{response.request.url} answers {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def _columns(client: httpx.Client, fit: dict[str, Any]) -> dict[str, Any]:
    url = f"/v1/datasets/{fit['dataset']['id']}/content"
    columns: dict[str, Any] = _json(client.get(url, headers={"Accept": "application/json"}))
    return {name: np.array(values) for name, values in columns["columns"].items()}


def _report(fit: dict[str, Any], columns: dict[str, Any], console: Console) -> None:
    x, y = columns["x"], columns["y"]
    design = np.column_stack([np.ones(len(x)), x])
    best, *_ = np.linalg.lstsq(design, y)
    best_loss = float(np.mean((design @ best - y) ** 2))
    table = Table("", "w0 (intercept)", "w1 (slope)", "loss", title="The notebook's line")
    fitted = fit["coefficients"]
    table.add_row(
        "fitted", f"{fitted['intercept']:.12f}", f"{fitted['x']:.12f}", f"{fit['final_loss']:.12f}"
    )
    table.add_row("closed form", f"{best[0]:.12f}", f"{best[1]:.12f}", f"{best_loss:.12f}")
    console.print(table)
    history = fit["loss_history"]
    console.print(
        f"Loss before the first step {history['loss'][0]:.6f}, "
        f"before the last one {history['loss'][-1]:.6f}, "
        f"after it {fit['final_loss']:.6f} ({history['n']} steps kept)"
    )


def _save_pictures(
    client: httpx.Client, fit: dict[str, Any], out_dir: Path, console: Console
) -> None:
    for url in fit["plots"].values():
        response = client.get(url)
        if response.is_error:
            raise DemoFailed(f"{url} answers {response.status_code}: {response.text}")
        place = out_dir / url.rpartition("/")[2]
        place.write_bytes(response.content)
        console.print(f"{url} saved as {place}", soft_wrap=True)
