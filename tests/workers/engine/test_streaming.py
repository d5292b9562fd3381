"""Rows that memory does not hold: the same batches, from a source that is read in order."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.engine.given import mapping, noisy_plane, sgd, specification
from workers.engine import Data, Shape, SpecificationError, check, fit, is_streamed
from workers.engine.batches import cut_batches
from workers.engine.reference import ReferenceDescent
from workers.engine.rows import MemoryRows, Rows
from workers.engine.shuffling import shuffle_rows
from workers.engine.snapshot import Start
from workers.engine.specification import Specification
from workers.engine.spill import Spill, spilled_row_bytes
from workers.engine.streaming import StreamedRows


@dataclass
class Watched:
    """A source that notes what is asked of it."""

    data: Data
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def weighted(self) -> bool:
        return self.data.weighted

    def read(self, first: int, stop: int) -> Data:
        self.reads.append((first, stop))
        return self.data.read(first, stop)


def descend(spec: Specification, data: Data, rows: Rows, cuts: int = 1_000) -> tuple[Any, ...]:
    """Everything that a fit gives, its steps made in chunks of `cuts`."""
    batches = cut_batches(spec, data.shape.n_rows)
    initial = spec.init.weights(spec.model, data.shape, spec.dtype, spec.seeds.init)
    descent = ReferenceDescent(spec, data.shape, rows, batches, Start(initial))
    while descent.n_steps < batches.total_steps and descent.failed_step is None:
        descent.advance(min(cuts, batches.total_steps - descent.n_steps))
    history = descent.trace.history()
    weights = descent.weights()
    arrays = [history.loss, history.grad_norm, history.epochs_train_loss, *weights.values()]
    return descent.failed_step, descent.final_loss(), *arrays


def in_memory(spec: Specification, data: Data) -> Rows:
    batches = cut_batches(spec, data.shape.n_rows)
    return MemoryRows(data, batches, spec.seeds.shuffle, spec.dtype)


def streamed(spec: Specification, data: Any, window_rows: int) -> StreamedRows:
    batches = cut_batches(spec, data.shape.n_rows)
    window_bytes = window_rows * spilled_row_bytes(data)
    return StreamedRows(data, batches, spec.seeds.shuffle, spec.dtype, window_bytes)


def bits(numbers: tuple[Any, ...]) -> list[bytes]:
    return [np.asarray(one).tobytes() for one in (numbers[0] is None, *numbers[2:])]


@st.composite
def mini_batches(draw: st.DrawFn) -> tuple[Specification, Data, StreamedRows]:
    n_rows = draw(st.integers(2, 200))
    n_features = draw(st.sampled_from([1, 3, 17, 40]))
    data = noisy_plane(n_rows, n_features, draw(st.integers(1, 2)), weighted=draw(st.booleans()))
    batch_size = draw(st.integers(1, min(20, n_rows)))
    spec = specification(
        optimizer=sgd(lr=1e-3, momentum=draw(st.sampled_from([0.0, 0.9])), weight_decay=0.01),
        batch_size=batch_size,
        shuffle=draw(st.booleans()),
        drop_last=draw(st.booleans()),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        seed=5,
        steps=30,
    )
    return spec, data, streamed(spec, data, batch_size + draw(st.integers(0, 60)))


@given(mini_batches(), st.integers(1, 7))
def test_mini_batches_are_those_of_memory_to_the_bit(
    drawn: tuple[Specification, Data, StreamedRows], cuts: int
) -> None:
    spec, data, rows = drawn

    found = descend(spec, data, rows, cuts)
    expected = descend(spec, data, in_memory(spec, data))

    assert bits(found) == bits(expected)
    # The whole set is summed by windows.
    assert found[1] == pytest.approx(expected[1], rel=1e-5 if spec.dtype == "float32" else 1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [None, 30])
def test_a_batch_larger_than_a_window_is_summed_over_its_parts(
    weighted: bool, shuffle: bool, batch_size: int | None
) -> None:
    data = noisy_plane(100, weighted=weighted)
    spec = specification(batch_size=batch_size, shuffle=shuffle, optimizer=sgd(momentum=0.5))

    found = descend(spec, data, streamed(spec, data, 7))
    expected = descend(spec, data, in_memory(spec, data))

    for ours, plain in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


def test_windows_that_count_nothing_leave_the_others_their_share() -> None:
    # given a first and a third window whose weights are all 0
    plain = noisy_plane(60)
    data = Data(plain.x, plain.y, np.repeat([0.0, 1.0, 0.0, 2.5, 0.5, 1e-3], 10))
    spec = specification(optimizer=sgd(momentum=0.5))

    found = descend(spec, data, streamed(spec, data, 10))
    expected = descend(spec, data, in_memory(spec, data))

    for ours, plain_ones in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, plain_ones, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_divergence_is_seen_at_the_same_step(shuffle: bool, dtype: str) -> None:
    data = noisy_plane(64)
    spec = specification(
        batch_size=8, optimizer=sgd(lr=1e3), steps=1000, shuffle=shuffle, dtype=dtype
    )

    found = descend(spec, data, streamed(spec, data, 16))
    expected = descend(spec, data, in_memory(spec, data))

    assert found[0] == expected[0]
    assert found[0] is not None
    assert bits(found) == bits(expected)


def test_the_source_is_read_once_an_epoch_in_bounded_blocks() -> None:
    watched = Watched(noisy_plane(1000))
    spec = specification(batch_size=10, epochs=3, steps=None)

    descend(spec, watched.data, streamed(spec, watched, 50))

    shuffles, final = watched.reads[:3], watched.reads[3:]
    assert shuffles == [(0, 1000)] * 3
    assert max(stop - first for first, stop in final) == 50
    assert sum(stop - first for first, stop in final) == 1000


def test_rows_are_scattered_in_bounded_blocks_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    watched = Watched(noisy_plane(1_000_000, 1))
    order = shuffle_rows(1_000_000, 1, 0).numpy()
    n_open = len(os.listdir("/proc/self/fd"))

    spill = Spill(watched, np.argsort(order), 300_000)
    read = np.concatenate([spill.read(window).x for window in range(4)])

    assert np.array_equal(read, watched.data.x[order])
    assert max(stop - first for first, stop in watched.reads) * spilled_row_bytes(watched) <= 2**24
    assert list(tmp_path.iterdir()) == []
    del spill
    assert len(os.listdir("/proc/self/fd")) == n_open


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let no file grow past so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_told_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = noisy_plane(1000)
    n_open = len(os.listdir("/proc/self/fd"))

    # given room for some rows, the last of which is written in part
    with largest_file(10_001), pytest.raises(OSError, match="too large"):
        Spill(data, np.arange(1000), 100)

    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_only_tables_past_a_gibibyte_are_streamed() -> None:
    assert not is_streamed(Shape(2**26, 1, 1))
    assert is_streamed(Shape(2**26 + 1, 1, 1))
    assert is_streamed(Shape(2**26, 1, 1, weighted=True))
    large = Shape(2**27, 1, 1)
    check(Specification.from_mapping(mapping(batch_size=100)), large)
    with pytest.raises(SpecificationError, match="'streaming'"):
        check(Specification.from_mapping(mapping(strategy="kernels")), large)


def test_a_source_is_fitted_like_rows_in_memory() -> None:
    data = noisy_plane(500)
    spec = mapping(batch_size=32, epochs=2)
    source = Watched(data)

    found = fit(Specification.from_mapping(spec | {"strategy": "streaming"}), source)
    expected = fit(Specification.from_mapping(spec | {"strategy": "reference"}), data)

    assert found.strategy == "streaming"
    assert found.history.loss.tobytes() == expected.history.loss.tobytes()
    assert fit(Specification.from_mapping(spec), source).strategy == "streaming"
    with pytest.raises(SpecificationError, match="these do: 'streaming'"):
        fit(Specification.from_mapping(spec | {"strategy": "kernels"}), source)
