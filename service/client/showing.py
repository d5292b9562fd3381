"""What the terminal shows of what there is: lines of a fit, tables of many."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from service.client.exits import Exit

Shown = Mapping[str, Any]

_MOST_COEFFICIENTS = 20
_MOST_BEST = 10
_MOST_FAILED = 5
_OF_LISTS = ("id", "name", "status", "created_at", "n_rows", "n_fits", "final_loss")
# A pipe has no width: what is read by programs is never folded.
_WIDEST = 10_000


class Page(Console):
    """stdout, in whose texts nothing is markup, and whose reader may leave."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            # A screen that knows few letters shows the rest of them all the same.
            sys.stdout.reconfigure(errors="replace")
        wide = not (sys.stdout.isatty() or "COLUMNS" in os.environ)
        super().__init__(
            markup=False, highlight=False, emoji=False, width=_WIDEST if wide else None
        )

    def on_broken_pipe(self) -> None:
        """End as a program does whose reader left."""
        leave_stdout()
        raise SystemExit(Exit.UNWRITABLE.value)

    def say(self, text: str, style: str = "") -> None:
        """Print a line that is never folded, so that what is in it can be copied."""
        self.print(Text(text, style), soft_wrap=True)

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names, and their values beneath each other."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.say(f"  {name:<{width}}  {value}")

    def table(self, rows: Sequence[Shown]) -> None:
        """Print objects as rows; the first one's names are the columns'."""
        table = Table()
        for name in rows[0]:
            table.add_column(name, no_wrap=name == "id")
        for row in rows:
            table.add_row(*(_cell(row.get(name)) for name in rows[0]))
        # Where the screen is narrower than the longest words, it folds the lines: nothing is cut.
        needed = Measurement.get(self, self.options.update(max_width=_WIDEST), table).minimum
        self.width = max(self.width, needed)
        self.print(table)


def leave_stdout() -> None:
    """Have what is still to be written go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(page: Page, found: Shown) -> None:
    """Anything but a batch."""
    show_one = {"fit": _show_fit, "lr_range_test": _show_range_test, "dataset": _show_dataset}
    show_one[found["object"]](page, found)


def show_batch(page: Page, batch: Shown, results: Sequence[Shown]) -> None:
    """A batch, the best of its members, and why others failed."""
    counts = ", ".join(f"{n} {status}" for status, n in batch["counts"].items() if n)
    page.say(f"{batch['id']}: {batch['status']}: {counts}", style="bold")
    metric, least = batch["select"]["metric"], batch["select"]["mode"] == "min"
    scored = [row for row in results if row["score"] is not None]
    scored.sort(key=lambda row: row["score"], reverse=not least)
    if scored:
        best = scored[:_MOST_BEST]
        page.table([{"id": row["id"], **row["varied"], metric: row["score"]} for row in best])
        if len(scored) > len(best):
            page.say(
                f"the best {len(best)} of {len(scored)}; all: {batch['urls']['self']}/results.csv"
            )
    failed = [row for row in results if row["status"] == "failed"]
    for row in failed[:_MOST_FAILED]:
        varied = ", ".join(f"{name}={_cell(value)}" for name, value in row["varied"].items())
        page.say(f"{row['id']} failed: {row['error']} ({varied})")
    if len(failed) > _MOST_FAILED:
        page.say(f"and {len(failed) - _MOST_FAILED} more failed")


def show_list(page: Page, found: Shown) -> None:
    """A page of a list, newest first."""
    if not found["data"]:
        page.say("there are none")
        return
    names = [name for name in _OF_LISTS if name in found["data"][0]]
    page.table([{name: one[name] for name in names} for one in found["data"]])
    if found["has_more"]:
        page.say("there are more: raise --limit")


def _show_fit(page: Page, fit: Shown) -> None:
    page.say(f"{fit['id']}: {fit['status']}", style="bold")
    page.pairs([*_beginning(fit), *_numbers(fit), *_addresses(fit)])


def _show_range_test(page: Page, test: Shown) -> None:
    page.say(f"{test['id']}: {test['status']}", style="bold")
    rows = [*_beginning(test)]
    result = test["result"]
    if result is not None:
        for name, rate in (result["suggestion"] or {}).items():
            rows.append((f"suggested lr, {name}", f"{rate:.6g}"))
        if result["reason"]:
            rows.append(("no suggestion", result["reason"]))
    page.pairs([*rows, *_addresses(test)])


def _show_dataset(page: Page, dataset: Shown) -> None:
    name = f" {dataset['name']}:" if dataset["name"] else ""
    page.say(f"{dataset['id']}:{name} {dataset['n_rows']} rows", style="bold")
    if dataset["n_dropped"]:
        page.say(f"{dataset['n_dropped']} rows were dropped")
    names = ("name", "type", "min", "max", "mean", "std", "n_distinct")
    page.table([{name: column[name] for name in names} for column in dataset["columns"]])


def _beginning(job: Shown) -> Iterator[tuple[str, str]]:
    """What fits and range tests have in common."""
    yield "dataset", f"{job['dataset']['id']}, {job['dataset']['n_rows']} rows"
    if job["stop_reason"] is not None:
        yield "stop reason", job["stop_reason"]
    progress = job["progress"]
    yield "steps", f"{progress['step']} of {progress['total_steps']}"
    if job["finished_at"] is None and progress["eta_seconds"] is not None:
        yield "time left", f"{progress['eta_seconds']:.0f} s"
    if job["error"]:
        yield "error", job["error"]["message"]
        if job["error"].get("hint"):
            yield "hint", job["error"]["hint"]


def _numbers(fit: Shown) -> Iterator[tuple[str, str]]:
    if fit["final_loss"] is not None:
        yield "final loss", f"{fit['final_loss']:.9g}"
    coefficients = list(_flat(fit["coefficients"] or {}))
    for name, value in coefficients[:_MOST_COEFFICIENTS]:
        yield name, f"{value:.9g}"
    if len(coefficients) > _MOST_COEFFICIENTS:
        yield "…", f"{len(coefficients) - _MOST_COEFFICIENTS} more coefficients: --json has them"
    for part, metrics in (fit["metrics"] or {}).items():
        for name, value in (metrics or {}).items():
            if isinstance(value, int | float):
                yield f"{part} {name}", f"{value:.6g}"
    for check in fit["checks"]:
        yield f"check {check['name'] or check['target']}", f"{check['status']}: {check['reason']}"


def _addresses(job: Shown) -> Iterator[tuple[str, str]]:
    if "page" in job["urls"]:
        yield "page", job["urls"]["page"]
    for kind, url in job["plots"].items():
        yield f"plot {kind}", url


def _flat(named: Shown, above: str = "") -> Iterator[tuple[str, float]]:
    for name, value in named.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name} ")
        elif value is not None:
            yield f"{above}{name}", value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
