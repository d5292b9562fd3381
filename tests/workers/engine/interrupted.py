"""What tests of fits that are cut short have in common."""

import concurrent.futures
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from workers.engine import Checkpoint, Data, Result, Shape, asides, kernel_descent

HELD_OUT = {"fraction": 0.25, "stratify": False}
ADAM = {
    "kind": "adam", "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
    "amsgrad": False,
}  # fmt: skip


class Kept:
    """Checkpoints that are written whenever they may be."""

    def __init__(self, last: Checkpoint | None = None) -> None:
        self.last = last

    def is_due(self) -> bool:
        return True

    def write(self, checkpoint: Checkpoint) -> None:
        self.last = Checkpoint.from_arrays(checkpoint.to_arrays())


class Streamed:
    """A source that memory does not hold."""

    def __init__(self, data: Data) -> None:
        self._data = data

    @property
    def shape(self) -> Shape:
        return self._data.shape

    @property
    def weighted(self) -> bool:
        return self._data.weighted

    def read(self, first: int, stop: int) -> Data:
        return self._data.read(first, stop)


def have_everything_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little work is much from now on, so that a test need not wait; windows are small."""
    for module in ("reference", "normal_equations"):
        monkeypatch.setattr(f"workers.engine.{module}.MUCH_WORK", 0)
    monkeypatch.setattr(kernel_descent, "_PAUSE_WORK", 1)
    monkeypatch.setattr("workers.engine.streaming.WINDOW_BYTES", 2_000)


def have_asides_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs aside is looked at once from now on, however long it takes."""
    asked: set[int] = set()
    alive: list[Any] = []

    def wait(futures: list[Any], _: float) -> Any:
        if id(futures[0]) in asked:
            return concurrent.futures.wait(futures)
        asked.add(id(futures[0]))
        # No other one may have its number.
        alive.append(futures[0])
        return concurrent.futures.wait([])

    monkeypatch.setattr(asides, "wait", wait)


def stop_at(number: int) -> Callable[[], bool]:
    """Asks for an end from the look of this number on, counted from 0."""
    looks = count()
    return lambda: next(looks) >= number


def n_looks(fitted: Callable[[Callable[[], bool]], object]) -> int:
    """How often a fit is looked at that nobody stops; it is called with its `should_stop`."""
    looks = count()
    fitted(lambda: next(looks) < 0)
    return next(looks)


def numbers(result: Result) -> list[bytes]:
    """What a fit came to, to the last bit."""
    history = (result.history.loss, result.history.grad_norm, result.history.lr)
    state = result.snapshot.to_arrays()
    arrays = [*history, *result.weights.values(), *(state[name] for name in sorted(state))]
    return [array.tobytes() for array in arrays]
