"""Rows that memory does not hold: the same batches, from a source that is read in order."""

import os
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
from workers.engine.specification import Specification
from workers.engine.spill import Spill, row_bytes
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
    descent = ReferenceDescent(spec, data.shape, rows, batches, initial)
    while descent.n_steps < batches.total_steps and descent.failed_step is None:
        descent.advance(min(cuts, batches.total_steps - descent.n_steps))
    history = descent.trace.history(spec.optimizer.lr)
    weights = descent.weights()
    arrays = [history.loss, history.grad_norm, history.epochs_train_loss, *weights.values()]
    return descent.failed_step, descent.final_loss(), *arrays


def in_memory(spec: Specification, data: Data) -> Rows:
    batches = cut_batches(spec, data.shape.n_rows)
    return MemoryRows(data, batches, spec.seeds.shuffle, spec.dtype)


def streamed(spec: Specification, data: Any, window_rows: int) -> StreamedRows:
    batches = cut_batches(spec, data.shape.n_rows)
    window_bytes = window_rows * row_bytes(data)
    return StreamedRows(data, batches, spec.seeds.shuffle, spec.dtype, window_bytes)


def bits(numbers: tuple[Any, ...]) -> list[bytes]:
    return [np.asarray(one).tobytes() for one in (numbers[0] is None, *numbers[2:])]


@st.composite
def mini_batches(draw: st.DrawFn) -> tuple[Specification, Data, StreamedRows]:
    n_rows = draw(st.integers(2, 200))
    data = noisy_plane(n_rows, 3, draw(st.integers(1, 2)), weighted=draw(st.booleans()))
    batch_size = draw(st.integers(1, min(20, n_rows)))
    spec = specification(
        optimizer=sgd(momentum=0.9, weight_decay=0.01),
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


def test_a_divergence_is_seen_at_the_same_step() -> None:
    data = noisy_plane(64)
    spec = specification(batch_size=8, optimizer=sgd(lr=1e3), steps=1000)

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
    assert max(stop - first for first, stop in watched.reads) * row_bytes(watched) <= 2**24
    assert list(tmp_path.iterdir()) == []
    del spill
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_only_tables_past_a_gibibyte_are_streamed() -> None:
    assert not is_streamed(Shape(2**26, 1, 1))
    assert is_streamed(Shape(2**26 + 1, 1, 1))
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
    with pytest.raises(TypeError, match="in memory"):
        fit(Specification.from_mapping(spec | {"strategy": "kernels"}), source)
