"""What a table is known by: its digest and summaries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.tables.canonical import CanonicalWriter, Ingested, block_rows
from service.tables.columns import Cells, numbers
from service.tables.distinct import count_distinct
from service.tables.ingest import ingest
from service.tables.pieces import Piece
from service.tables.stored import StoredTable
from tests.service.tables.given import read_json


def cells(values: np.ndarray) -> Cells:
    return numbers(values, np.zeros(len(values), np.bool_))


def written(path: Path, values: np.ndarray, cuts: list[int]) -> Ingested:
    with CanonicalWriter(path, ["x"], ["number"]) as writer:
        for part in np.split(values, cuts):
            writer.add([cells(part)])
        return writer.finish(0)


def test_the_digest_tells_names_order_kinds_and_the_last_bit() -> None:
    tables: list[dict[str, list[Any]]] = [
        {"x": [1.0], "y": [2.0]},
        {"x": [1.0], "z": [2.0]},
        {"y": [2.0], "x": [1.0]},
        {"x": [float(np.nextafter(1.0, 2))], "y": [2.0]},
        {"x": [1.0, 1.0], "y": [2.0, 2.0]},
        {"x": ["1.0"], "y": [2.0]},
        {"x": [0.0], "y": [2.0]},
        {"x": [-0.0], "y": [2.0]},
    ]

    assert len({read_json({"columns": columns}).digest for columns in tables}) == len(tables)


def test_the_summary_is_numpys() -> None:
    values = [3.0, 1.0, 1.0]

    assert read_json({"columns": {"x": values}}).columns == [
        {
            "name": "x", "type": "number", "min": 1.0, "max": 3.0, "n_distinct": 2,
            "mean": pytest.approx(np.mean(values)), "std": pytest.approx(np.std(values)),
        }
    ]  # fmt: skip


def test_the_summary_of_a_category_lists_its_texts() -> None:
    assert read_json({"columns": {"c": ["b", "a", "b"]}}).columns == [
        {
            "name": "c", "type": "category", "n_distinct": 2, "categories": ["a", "b"],
            "min": None, "max": None, "mean": None, "std": None,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1.0, 1e200, 1.7e308])
def test_numbers_of_any_size_have_a_spread(scale: float) -> None:
    values = [scale, -scale, scale / 2]

    (summary,) = read_json({"columns": {"x": values}}).columns

    relative = np.array(values) / scale
    assert summary["mean"] / scale == pytest.approx(relative.mean(), abs=1)
    if scale > 1e-300:
        assert summary["mean"] / scale == pytest.approx(relative.mean())
        assert summary["std"] / scale == pytest.approx(relative.std())


@given(st.lists(st.integers(0, 150_000), max_size=4).map(sorted))
def test_blocks_do_not_show_in_what_a_table_is_known_by(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    values = np.random.default_rng(0).normal(size=150_000)
    path = tmp_path_factory.mktemp("table") / "table.arrow"

    found = written(path, values, cuts)

    assert found == written(path, values, [])
    (summary,) = found.columns
    assert summary["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert summary["std"] == pytest.approx(values.std(), rel=1e-12)
    with StoredTable(path) as table:
        assert table.n_rows == 150_000
        read = np.concatenate([block.column(0).to_numpy() for block in table.blocks()])
    assert read.tobytes() == values.tobytes()


def test_blocks_of_wide_tables_have_few_rows() -> None:
    for n_columns in (1, 100, 10_000):
        assert block_rows(["number"] * n_columns) * n_columns * 8 <= 16 * 1024**2
        assert block_rows(["category"] * n_columns) * n_columns * 200 <= 16 * 1024**2


@given(
    npst.arrays(np.float64, st.integers(1, 300), elements=st.sampled_from([0.0, -0.0, 1.5, 2e9])),
    st.integers(1, 50),
)
def test_distinct_numbers_are_counted_exactly_share_by_share(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, share_rows: int
) -> None:
    path = tmp_path_factory.mktemp("table") / "table.arrow"
    written(path, values, [])

    with StoredTable(path) as table:
        assert count_distinct(table, share_rows) == len(np.unique(values))


def test_many_distinct_numbers_are_counted_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200_000, 300_000) / 7

    (summary,) = written(tmp_path / "table.arrow", values, []).columns

    assert summary["n_distinct"] == len(np.unique(values))
    with StoredTable(tmp_path / "table.arrow") as table:
        assert count_distinct(table, 10_000) == len(np.unique(values))


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.arrow"

    def pieces() -> Iterator[Piece]:
        for first in range(0, 200_000, 50_000):
            x = np.arange(first, first + 50_000.0)
            yield Piece(("a", "b", "c"), (cells(x), cells(x + 0.5), cells(-x)))

    ingest(pieces(), "refuse", path)

    with StoredTable(path, ["c", "a"]) as table:
        block = table.block(1)
    assert block.schema.names == ["c", "a"]
    assert np.array_equal(block.column(0).to_numpy(), -block.column(1).to_numpy())
    assert block.column(1)[0].as_py() == 65_536
