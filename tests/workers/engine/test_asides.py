"""What runs beside the thread that looks, and what becomes of it where nobody wants it any more."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.eventually import eventually
from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.interrupted import (
    ADAM,
    HELD_OUT,
    Streamed,
    have_everything_take_long,
    numbers,
)
from tests.workers.engine.test_large import NETWORK
from workers.engine import (
    Data,
    Interrupted,
    Result,
    are_others_left,
    aside,
    fit,
    look,
    looking,
    wait_for_others,
)
from workers.engine.batches import cut_batches
from workers.engine.large import LargeDescent
from workers.engine.reference import ReferenceDescent
from workers.engine.snapshot import Start
from workers.engine.specification import Record
from workers.engine.streaming import StreamedRows
from workers.engine.trajectory import TrajectoryWriter

NORMED = NETWORK | {"batch_norm": True, "dropout": 0.2}
# A batch that is a window, and one that is many.
BATCHES: dict[str, dict[str, Any]] = {
    "window": {"batch_size": 30, "shuffle": False, "model": NORMED},
    "windows": {"batch_size": None, "model": NETWORK},
}
HELD_SECONDS = 0.3


class Held(Streamed):
    """A source one of whose reads, counted from 0, goes on only when it is let go."""

    def __init__(self, data: Data, number: int) -> None:
        super().__init__(data)
        self._number = number
        self._n_reads = 0
        self._may_go_on = threading.Event()
        self.is_reading = threading.Event()
        # Reads that began while one was held.
        self.n_beside = 0

    def read(self, first: int, stop: int) -> Data:
        self._n_reads += 1
        if self._n_reads - 1 == self._number:
            self.is_reading.set()
            assert self._may_go_on.wait(60)
        elif self.is_reading.is_set() and not self._may_go_on.is_set():
            self.n_beside += 1
        return super().read(first, stop)

    def let_go(self) -> None:
        self._may_go_on.set()

    def let_go_when_left(self) -> None:
        """Some time after whoever waits for it has left it alone."""

        def wait() -> None:
            eventually(are_others_left, 60)
            time.sleep(HELD_SECONDS)
            self.let_go()

        threading.Thread(target=wait, daemon=True).start()


def test_what_runs_aside_gives_what_it_gives() -> None:
    with looking(lambda: None):
        assert aside(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            aside(lambda: 1 // 0)


def test_what_nobody_looks_at_has_no_thread_of_its_own() -> None:
    assert aside(threading.get_ident) == threading.get_ident()
    with looking(lambda: None):
        assert aside(threading.get_ident) != threading.get_ident()


def test_what_is_left_alone_ends_at_its_own_look() -> None:
    # given a task within a task, which would go on for ever
    ended = threading.Event()

    def go_on() -> None:
        try:
            while True:
                look()
                time.sleep(1e-4)
        finally:
            ended.set()

    # when nobody wants it any more
    def stop() -> None:
        raise Interrupted

    with looking(stop), pytest.raises(Interrupted):
        aside(lambda: aside(go_on))

    # then it ends, and is waited for
    assert wait_for_others()
    assert ended.is_set()
    assert not are_others_left()


@pytest.mark.parametrize(("name", "number"), [("window", 7), ("windows", 17)])
def test_a_fit_past_its_time_is_not_touched_by_the_thread_that_it_left(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a table larger than its windows, and a fit that measures, validates and records
    have_everything_take_long(monkeypatch)
    data = noisy_plane(160)
    early = {
        "monitor": "validation_loss", "patience": 50, "min_delta": 0.0,
        "restore_best": name == "windows",
    }  # fmt: skip
    changes = BATCHES[name] | {
        "strategy": "streaming", "optimizer": ADAM, "validation": HELD_OUT,
        "early_stopping": early, "record": {"every": 1, "weights": True, "gradients": True},
        "limits": {"max_seconds": 100},
    }  # fmt: skip

    # when its time is over while the sixth step waits for rows, and these come long after
    source = Held(data, number)
    source.let_go_when_left()
    cut = fit(
        specification(steps=10_000, **changes), source,
        clock=lambda: 1_000.0 if source.is_reading.is_set() else 0.0,
    )  # fmt: skip

    # then the rows were left to that step until it was through with them
    assert (cut.status, source.n_beside) == ("time_limit", 0)
    assert not are_others_left()
    # and all is as in a fit of so many steps
    assert cut.n_steps == 5
    whole = fit(specification(steps=cut.n_steps, **changes), Streamed(data))
    assert numbers(cut) == numbers(whole)
    assert cut.final_loss == whole.final_loss
    assert recorded(cut) == recorded(whole)
    np.testing.assert_array_equal(
        cut.history.epochs_validation_loss, whole.history.epochs_validation_loss
    )


def test_a_fit_past_its_time_can_be_stopped_while_it_waits_for_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a fit whose time is over while a step waits for rows that do not come
    have_everything_take_long(monkeypatch)
    spec = specification(
        steps=10_000, strategy="streaming", optimizer=ADAM, limits={"max_seconds": 100},
        **BATCHES["window"],
    )  # fmt: skip
    source = Held(noisy_plane(160), 7)

    # when it is to stop after that
    cut = fit(
        spec, source, should_stop=are_others_left,
        clock=lambda: 1_000.0 if source.is_reading.is_set() else 0.0,
    )  # fmt: skip

    # then it waits no longer
    assert (cut.status, cut.final_loss, are_others_left()) == ("interrupted", None, True)
    source.let_go()
    assert wait_for_others()


def recorded(result: Result) -> list[tuple[str, bytes]]:
    assert result.trajectory is not None
    seen = (result.trajectory.weights, result.trajectory.gradients)
    return [(name, array.tobytes()) for arrays in seen for name, array in arrays.items()]


@pytest.mark.parametrize(("name", "number"), [("window", 3), ("windows", 13)])
def test_a_step_that_was_left_can_be_made_again(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a descent whose fourth step is left alone with its rows
    have_everything_take_long(monkeypatch)
    data = noisy_plane(160)
    found, whole = Held(data, number), Streamed(data)
    descent = descent_over(found, **BATCHES[name])
    with looking(end_when(found.is_reading)), pytest.raises(Interrupted):
        descent.advance(10)
    assert descent.n_steps == 3

    # when that has come to its end, and more steps are made
    found.let_go()
    assert wait_for_others()
    descent.advance(7)

    # then they are as if none had been left
    undisturbed = descent_over(whole, **BATCHES[name])
    undisturbed.advance(10)
    assert descent.trace.history().loss.tobytes() == undisturbed.trace.history().loss.tobytes()
    ours, theirs = (one.snapshot().to_arrays() for one in (descent, undisturbed))
    assert {n: a.tobytes() for n, a in ours.items()} == {n: a.tobytes() for n, a in theirs.items()}


@pytest.mark.parametrize(
    ("record", "n_steps"), [({"every": 1}, 0), ({"every": 4, "weights": True}, 5)]
)
def test_a_failure_is_not_looked_for_while_a_step_that_was_left_goes_on(
    monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], n_steps: int
) -> None:
    # given a descent whose sixth step overflows, and whose seventh does not let its rows go
    have_everything_take_long(monkeypatch)
    plane = noisy_plane(160)
    data = Data(x=plane.x, y=1e3 * plane.y)
    changes = BATCHES["window"] | {
        "optimizer": sgd(lr=1e-3), "dtype": "float32",
        "record": {"weights": False, "gradients": False} | record,
        "scheduler": {
            "kind": "multistep", "interval": "step", "milestones": [5], "gamma": 1e41,
        },
    }  # fmt: skip
    found = Held(data, 6)
    descent, undisturbed = (
        descent_over(source, LargeDescent, **changes) for source in (found, Streamed(data))
    )
    written, whole = (TrajectoryWriter(Record(**changes["record"])) for _ in range(2))

    def advance(writer: TrajectoryWriter, one: ReferenceDescent) -> None:
        if writer.writes:
            writer.advance(one, 10)
        else:
            one.advance(10)

    # when it is cut there
    with looking(end_when(found.is_reading)), pytest.raises(Interrupted):
        advance(written, descent)

    # then it waits no longer, and is where its weights were last known to be finite
    assert are_others_left()
    assert (descent.n_steps, descent.failed_step, found.n_beside) == (n_steps, None, 0)
    assert all(np.isfinite(weight).all() for weight in descent.weights().values())

    # and goes on from there as if it had never been cut
    found.let_go()
    assert wait_for_others()
    advance(written, descent)
    advance(whole, undisturbed)
    assert descent.failed_step == undisturbed.failed_step == 5
    assert descent.trace.history().loss.tobytes() == undisturbed.trace.history().loss.tobytes()
    seen, all_seen = written.kept(), whole.kept()
    assert {n: a.tobytes() for n, a in seen.items()} == {
        n: a.tobytes() for n, a in all_seen.items()
    }


def descent_over(
    source: Streamed, kind: type[ReferenceDescent] = ReferenceDescent, **changes: Any
) -> ReferenceDescent:
    spec = specification(**{"steps": 10, "optimizer": ADAM} | changes)
    batches = cut_batches(spec, source.shape.n_rows)
    rows = StreamedRows(source, batches, spec.seeds.shuffle, spec.dtype, 2_000)
    initial = spec.init.weights(spec.model, source.shape, spec.dtype, spec.seeds.init)
    return kind(spec, source.shape, rows, batches, Start(initial))


def end_when(is_time: threading.Event) -> Any:
    def watch() -> None:
        if is_time.is_set():
            raise Interrupted

    return watch
