"""Every format: the same table gives the same digest, summaries and numbers."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.tables.canonical import Ingested
from service.tables.ingest import ingest
from service.tables.json_values import columns_to_pieces
from service.tables.stored import StoredTable
from service.tables.writers import WRITERS, content
from tests.service.tables.given import (
    ARROW,
    CSV,
    FILE,
    FORMS,
    NPY,
    NPZ,
    PARQUET,
    as_arrow,
    as_npz,
    as_parquet,
    read,
    read_json,
    saved,
)

MIXED: dict[str, list[Any]] = {
    "x": [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2.0],
    'y, "z"': [1.0, 2.0, 3.0, 4.0, 5.0],
    "colour": ["red", "a,b", 'say "no"', "two\nlines", "red"],
}

finite = st.floats(allow_nan=False, allow_infinity=False)
# A CSV has no types: a text that reads as a number is one there.
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=20
).map(lambda text: f"é{text}")
names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5).map(
        lambda text: f"n{text}"
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    n_rows = draw(st.integers(1, 30))
    cells = st.sampled_from([finite, words])
    return {
        name: draw(st.lists(draw(cells), min_size=n_rows, max_size=n_rows)) for name in draw(names)
    }


def facts(of: Ingested) -> tuple[Any, ...]:
    return of.n_rows, of.digest, of.columns


@pytest.mark.parametrize("form", FORMS)
def test_the_same_table_is_the_same_in_every_format(form: str) -> None:
    assert facts(read(*FORMS[form](MIXED))) == facts(read_json({"columns": MIXED}))


def test_json_rows_are_json_columns() -> None:
    rows = [dict(zip(MIXED, row, strict=True)) for row in zip(*MIXED.values(), strict=True)]

    assert facts(read_json({"rows": rows})) == facts(read_json({"columns": MIXED}))


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (b"x,y\n1,2\n3,4e-3\n", {}),
        (b'\xef\xbb\xbfx,"y"\r\n1,"2"\r\n3, 0.004 \r\n', {}),
        (b"x;y\n1;2\n3;.004\n", {"delimiter": ";"}),
        (b"x\ty\n1\t2\n3\t4.0E-3", {"delimiter": "\t"}),
        (b"x,y\r1,2\r3,+4e-03\r", {}),
    ],
)
def test_csv_dialects_give_the_same_table(source: bytes, options: dict[str, Any]) -> None:
    given_columns = {"x": [1.0, 3.0], "y": [2.0, 0.004]}

    assert facts(read(source, CSV, **options)) == facts(read_json({"columns": given_columns}))


def test_without_a_header_columns_are_numbered() -> None:
    found = read(b"1,2\n3,4\n", CSV, header=False)

    assert [column["name"] for column in found.columns] == ["0", "1"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i2", "u1"])
def test_an_npy_array_is_numbered_columns(order: Any, dtype: str) -> None:
    matrix = np.arange(12).reshape(6, 2).astype(dtype, order=order)

    found = read(saved(lambda file: np.save(file, matrix)), NPY)

    columns = {"0": matrix[:, 0].astype(float), "1": matrix[:, 1].astype(float)}
    assert facts(found) == facts(read(as_parquet(columns), PARQUET))


def test_two_dimensional_arrays_and_lists_become_numbered_features() -> None:
    lists = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64(), 2))
    targets = [5.0, 6.0]
    expected = read_json({"columns": {"f.0": [1, 3], "f.1": [2, 4], "y": targets}})

    for found in (
        read(as_npz({"f": [[1.0, 2.0], [3.0, 4.0]], "y": targets}), NPZ),
        read(as_arrow({"f": lists, "y": targets}), FILE),
        read(as_arrow({"f": lists, "y": targets}, file=False), f"{ARROW}.stream"),
        read(as_parquet({"f": lists.cast(pa.list_(pa.float64())), "y": targets}), PARQUET),
    ):
        assert facts(found) == facts(expected)


@pytest.mark.parametrize(
    "typed",
    [
        pa.array([1, 2, 1], pa.int8()),
        pa.array([1, 2, 1], pa.uint64()),
        pa.array([1, 2, 1], pa.float16()),
        pa.array([1, 2, 1], pa.decimal128(5, 2)),
        pa.array([1, 2, 1], pa.float32()).dictionary_encode(),
    ],
)
def test_every_type_of_number_is_taken(typed: pa.Array) -> None:
    expected = facts(read_json({"columns": {"x": [1, 2, 1]}}))

    assert facts(read(as_arrow({"x": typed}), FILE)) == expected


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_type_of_text_is_a_category(kind: pa.DataType) -> None:
    texts = ["b", " a ", "b"]

    plain = read(as_arrow({"c": pa.array(texts, kind)}), FILE)
    encoded = read(as_arrow({"c": pa.array(texts).dictionary_encode()}), FILE)

    assert plain.columns[0]["categories"] == ["a", "b"]
    assert plain.columns[0]["n_distinct"] == 2
    assert facts(encoded) == facts(plain)


def test_pieces_of_any_size_make_the_same_table() -> None:
    columns = {"x": np.random.default_rng(0).normal(size=150_000), "y": np.arange(150_000.0)}
    small = as_parquet(columns, row_group_size=7_000)

    assert facts(read(small, PARQUET)) == facts(read(*FORMS["csv"](columns)))


@given(tables())
def test_any_table_survives_every_format_bit_for_bit(columns: dict[str, list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        kept = Path(directory) / "kept.arrow"
        first = ingest(columns_to_pieces(columns), "refuse", kept)
        with StoredTable(kept) as table:
            (block,) = table.blocks()
        for name, values in columns.items():
            stored = block.column(name)
            if isinstance(values[0], float):
                assert stored.to_numpy().tobytes() == np.array(values).tobytes()
            else:
                assert stored.to_pylist() == [text.strip() for text in values]
        for media_type in WRITERS:
            written = b"".join(content(kept, media_type))
            if media_type == "application/json":
                again = read_json(orjson.loads(written))
            else:
                again = read(written, media_type)
            assert facts(again) == facts(first)


@given(npst.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=finite))
def test_any_array_survives_npy_and_npz_bit_for_bit(values: np.ndarray) -> None:
    columns = {str(i): values[:, i].tolist() for i in range(values.shape[1])}
    expected = facts(read_json({"columns": columns}))

    assert facts(read(saved(lambda file: np.save(file, values)), NPY)) == expected
    assert facts(read(as_npz(columns), NPZ)) == expected
