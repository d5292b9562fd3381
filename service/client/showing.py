"""What the terminal shows of jobs: bars while they run, tables when they have ended."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

_MOST_WEIGHTS = 20
_ENDED = ("succeeded", "failed", "cancelled")


class FitBar:
    """A fit's progress, its loss live."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None

    def follow(self, fit: Mapping[str, Any], events: Iterator[tuple[str, Any]]) -> None:
        """Show the events until there are no more."""
        with self._bar:
            self._task = self._bar.add_task(
                fit["id"], total=fit["progress"]["total_steps"], loss="–"
            )
            for kind, data in events:
                self._show(kind, data)

    def _show(self, kind: str, data: Mapping[str, Any]) -> None:
        if self._task is None:
            return
        if kind == "progress":
            loss = "–" if data["loss"] is None else f"{data['loss']:.6g}"
            self._bar.update(self._task, completed=data["step"], loss=loss)
        elif kind == "end" and data["status"] == "succeeded":
            self._bar.update(self._task, completed=self._bar.tasks[self._task].total)


class BatchBar:
    """How many members of a batch have ended, and how."""

    def __init__(self, console: Console, total: int) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} fits"),
            TextColumn("{task.fields[failed]} failed"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.bar.add_task("sweep", total=total, failed=0)

    def update(self, counts: Mapping[str, int]) -> None:
        """Show the counts."""
        ended = sum(counts[status] for status in _ENDED)
        self.bar.update(self._task, completed=ended, failed=counts["failed"])


def show_fit(console: Console, fit: Mapping[str, Any]) -> None:
    """A fit's end for people."""
    table = Table(title=f"{fit['id']}: {fit['status']}", show_header=False, title_justify="left")
    for name, value in _fit_rows(fit):
        table.add_row(name, value)
    console.print(table)


def _fit_rows(fit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "stop reason", str(fit["stop_reason"])
    if fit["error"]:
        yield "error", fit["error"]["message"]
        if fit["error"].get("hint"):
            yield "hint", fit["error"]["hint"]
    if fit["final_loss"] is not None:
        yield "final loss", f"{fit['final_loss']:.9g}"
    for name, value in list(_flat(fit["coefficients"] or {}))[:_MOST_WEIGHTS]:
        yield name, f"{value:.9g}"
    for part, metrics in (fit["metrics"] or {}).items():
        for name, value in (metrics or {}).items():
            if isinstance(value, int | float):
                yield f"{part} {name}", f"{value:.6g}"
    for check in fit["checks"]:
        yield f"check {check['name'] or check['target']}", f"{check['status']}: {check['reason']}"
    for kind, url in fit["plots"].items():
        yield f"plot {kind}", url


def _flat(named: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    for name, value in named.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name} ")
        else:
            yield f"{above}{name}", value


def show_best(
    console: Console, batch: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """A batch's end for people: its counts, and the best of its members."""
    counts = ", ".join(f"{n} {status}" for status, n in batch["counts"].items() if n)
    console.print(f"{batch['id']}: {batch['status']}: {counts}")
    if not rows:
        return
    names = [name for name in rows[0] if name != "status"]
    table = Table(*names)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    console.print(table)


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
