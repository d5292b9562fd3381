"""Bars on stderr while jobs run."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from service.client.exits import OF_STATUS

Shown = Mapping[str, Any]
_NONE = "–"


class Bar(ABC):
    """A job's progress, as its events tell it; on the screen within `with`."""

    _unit: str
    _last: str

    def __init__(self, console: Console, job: Shown) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20),
            TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {self._unit}"),
            TextColumn(f"{self._last} {{task.fields[last]}}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._job = job
        self._task = self._progress.add_task("", total=self._total(job), last=_NONE)
        self.show_job(job)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show_event(self, kind: str, data: Shown) -> None:
        """Show what an event tells."""
        if kind == "progress":
            self._move(data)
        elif kind in ("status", "end"):
            self._name(data["status"])

    @abstractmethod
    def show_job(self, job: Shown) -> None:
        """Show the job as it has been looked up."""

    @abstractmethod
    def _total(self, job: Shown) -> int: ...

    @abstractmethod
    def _move(self, progress: Shown) -> None: ...

    def _name(self, status: str) -> None:
        self._progress.update(self._task, description=status)

    def _show(self, completed: int, last: str) -> None:
        self._progress.update(self._task, completed=completed, last=last)


class StepsBar(Bar):
    """How many steps a fit or a range test has made, and its loss."""

    _unit = "steps"
    _last = "loss"

    def show_job(self, job: Shown) -> None:
        """Show the job; after its end its final loss, and the steps that it took."""
        self._name(job["status"])
        loss = job.get("final_loss")
        self._move(job["progress"] | ({} if loss is None else {"loss": loss}))

    def _total(self, job: Shown) -> int:
        return int(job["progress"]["total_steps"])

    def _move(self, progress: Shown) -> None:
        loss = progress["loss"]
        self._show(progress["step"], _NONE if loss is None else f"{loss:.6g}")


class FitsBar(Bar):
    """How many members of a batch have ended, and how many of them failed."""

    _unit = "fits"
    _last = "failed:"

    def show_job(self, job: Shown) -> None:
        """Show the batch."""
        self._name(job["status"])
        self._move(job)

    def _total(self, job: Shown) -> int:
        return int(job["n_fits"])

    def _move(self, progress: Shown) -> None:
        counts = progress["counts"]
        self._show(sum(counts[status] for status in OF_STATUS), str(counts["failed"]))
