"""What cannot be read is refused with its place, in bounded time and memory."""

import io
import time
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from service.errors import InvalidTable, TooLarge
from service.tables.ingest import Missing
from service.tables.places import MOST_PLACES
from tests.service.tables.given import (
    CSV,
    FILE,
    FORMS,
    NDJSON,
    NPY,
    NPZ,
    PARQUET,
    STREAM,
    as_arrow,
    as_npz,
    as_parquet,
    read,
    read_json,
    saved,
)

Found = list[tuple[str, int | None, str | None]]


def places(content: bytes, media_type: str, **options: Any) -> Found:
    with pytest.raises(InvalidTable) as refused:
        read(content, media_type, **options)
    assert len(refused.value.places) <= MOST_PLACES
    return [(place.code, place.row, place.column) for place in refused.value.places]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"x,y\n1,2\n3\n4,5\n6,7,8\n", [("ragged_row", 1, None), ("ragged_row", 3, None)]),
        (b"x,y\n1,\n3,4\n5,\n", [("missing_value", 0, "y"), ("missing_value", 2, "y")]),
        (b"x,y\n1,2\n3,abc\n", [("not_a_number", 1, "y")]),
        (b"x,y\n1,a\n3,b\n5, \n", [("missing_value", 2, "y")]),
        (b"x,y\n1,nan\n-inf,2\n", [("not_finite", 1, "x"), ("not_finite", 0, "y")]),
        (b"x,y\n1e999,2\n", [("not_finite", 0, "x")]),
        (b"x,x\n1,2\n", [("duplicate_column_name", None, "x")]),
        (b"x,\n1,2\n", [("empty_column_name", None, "")]),
        (b"x,y\n", [("no_rows", None, None)]),
        (b"x,y\n1,2\n0x10,1_0\n", [("not_a_number", 1, "x")]),
        (b"x,y\n1,2\n1,\xff\n", [("invalid_utf8", None, None)]),
        (b"x,\xff\n1,2\n", [("invalid_utf8", None, None)]),
        (b"", [("no_columns", None, None)]),
        (b"x\n" + b"1" * 9_000_000 + b"\n1", [("long_row", None, None)]),
        (b'x\n"' + b"1\n" * 8_000_000, [("long_row", None, None)]),
        (b"x\na\n" + b"b" * 201, [("long_text", 1, "x")]),
        (b"x" * 201 + b"\n1\n", [("long_column_name", None, "x" * 200)]),
        (b"x," * 10_000 + b"x\n1", [("too_many_columns", None, None)]),
        (
            b"x\n" + b"\n".join(b"t%d" % i for i in range(1001)),
            [("too_many_categories", None, "x")],
        ),
    ],
)
def test_a_csv_is_refused_with_the_place(source: bytes, expected: Found) -> None:
    assert places(source, CSV) == expected


def test_without_a_header_the_first_row_is_row_0() -> None:
    assert places(b"1,2\n3\n", CSV, header=False) == [("ragged_row", 1, None)]


def test_rows_count_on_from_one_block_to_the_next() -> None:
    lines = [b"x,y"] + [b"1,2"] * 2_000_000

    assert places(b"\n".join([*lines, b"1,b", b"2,3"]), CSV) == [("not_a_number", 2_000_000, "y")]
    assert places(b"\n".join([*lines, b"1,"]), CSV) == [("missing_value", 2_000_000, "y")]
    assert places(b"\n".join([*lines, b"1"]), CSV) == [("ragged_row", 2_000_000, None)]
    assert "line 2000002" in refusal(b"\n".join([*lines, b"1,\xff"]), CSV)


def refusal(content: bytes, media_type: str, **options: Any) -> str:
    with pytest.raises(InvalidTable) as refused:
        read(content, media_type, **options)
    return refused.value.detail


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b'{"x":1}\n{"x":2,"y":3}\n', [("ragged_row", 1, None)]),
        (b'{"x":1}\n\n{"y":3}\n', [("ragged_row", 1, None)]),
        (b'{"x":1}\n{"x":', [("malformed_line", 1, None)]),
        (b'{"x":1}\n[1]\n', [("malformed_line", 1, None)]),
        (b'{"x":1}\n{"x":"1"}\n{"x":true}\n', [("wrong_type", 1, "x"), ("wrong_type", 2, "x")]),
        (b'{"x":"a"}\n{"x":1}\n', [("wrong_type", 1, "x")]),
        (b'{"x":[1]}\n', [("wrong_type", 0, "x")]),
        (b'{"x":1}\n{"x":null}\n', [("missing_value", 1, "x")]),
        (b'{"x":1}\n{"x":NaN}\n', [("malformed_line", 1, None)]),
        (b"{}\n", [("no_columns", None, None)]),
        (b"\n \n", [("no_rows", None, None)]),
        (b'{"x":' + b" " * 5_000_000 + b"1}", [("long_row", 0, None)]),
        (b'{"x":1}\n{"x":' + b"9" * 400 + b"}", [("malformed_line", 1, None)]),
    ],
)
def test_ndjson_is_refused_with_the_place(source: bytes, expected: Found) -> None:
    assert places(source, NDJSON) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"x": [1.0, None]}, [("missing_value", 1, "x")]),
        ({"x": [1.0, float("nan")]}, [("not_finite", 1, "x")]),
        ({"x": [True]}, [("unsupported_type", None, "x")]),
        ({"x": pa.array([0], pa.timestamp("s"))}, [("unsupported_type", None, "x")]),
        ({"x": [{"a": 1}]}, [("unsupported_type", None, "x")]),
        ({"x": [[1.0], [1.0, 2.0]]}, [("ragged_list", 1, "x")]),
        ({"x": [[]]}, [("ragged_list", 0, "x")]),
        ({"x": [[1.0], None]}, [("ragged_list", 1, "x")]),
        ({"x": [[1.0], [None]]}, [("missing_value", 1, "x.0")]),
        ({" ": [1.0]}, [("empty_column_name", None, " ")]),
        ({"x.0": [1.0], "x": [[1.0]]}, [("duplicate_column_name", None, "x.0")]),
        ({"x": pa.array([], pa.float64())}, [("no_rows", None, None)]),
        ({"x": ["a" * 201]}, [("long_text", 0, "x")]),
        ({"x": pa.array(["a" * 201]).dictionary_encode()}, [("long_text", 0, "x")]),
    ],
)
def test_typed_tables_are_refused_with_the_place(columns: Any, expected: Found) -> None:
    assert places(as_arrow(columns), FILE) == expected
    assert places(as_arrow(columns, file=False), STREAM) == expected
    assert places(as_parquet(columns), PARQUET) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"x": [1.0], "y": [1.0, 2.0]}, [("ragged_column", None, "x")]),
        ({"x": [1j]}, [("unsupported_type", None, "x")]),
        ({"x": np.zeros((2, 2, 2))}, [("unsupported_shape", None, "x")]),
        ({"x": np.zeros((1, 0))}, [("no_columns", None, None)]),
        ({"x": np.zeros((0, 1))}, [("no_rows", None, None)]),
        ({"x": [np.inf]}, [("not_finite", 0, "x")]),
    ],
)
def test_arrays_are_refused_with_the_place(columns: Any, expected: Found) -> None:
    assert places(as_npz(columns), NPZ) == expected


def test_pickles_are_never_unpickled() -> None:
    objects = np.array([1, Trap()], object)
    alone = saved(lambda file: np.save(file, objects, allow_pickle=True))
    archived = saved(lambda file: np.savez(file, allow_pickle=True, x=objects))

    assert "never unpickled" in refusal(alone, NPY)
    assert "never unpickled" in refusal(archived, NPZ)
    assert "cannot be read" in refusal(b"\x80\x04N.", NPY)
    assert not Trap.sprung


class Trap:
    """Notes when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("form", [name for name in FORMS if name not in ("csv", "ndjson")])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_binary_file_is_refused(form: str, kept: float) -> None:
    content, media_type = FORMS[form]({"x": np.arange(1000.0), "c": ["a", "b"] * 500})

    assert refusal(content[: int(len(content) * kept)], media_type)


def test_json_is_refused_with_the_place() -> None:
    for columns, expected in (
        ({"x": [1, "a"]}, ("wrong_type", 1, "x")),
        ({"x": ["a", 1]}, ("wrong_type", 1, "x")),
        ({"x": [1, True]}, ("wrong_type", 1, "x")),
        ({"x": [1, None]}, ("missing_value", 1, "x")),
        ({"x": [1], "y": [1, 2]}, ("ragged_column", None, "x")),
    ):
        with pytest.raises(InvalidTable) as refused:
            read_json({"columns": columns})
        (place,) = refused.value.places
        assert (place.code, place.row, place.column) == expected


@pytest.mark.parametrize(
    "source",
    [b"x,y\n1,\n3,4\n5,6\n,\nnan,1\n", b"x,y\n,\n3,4\n5,6\n,\nnan,1\n"],
)
def test_rows_that_a_fit_cannot_use_are_dropped_when_asked_for(source: bytes) -> None:
    kept = read(source, CSV, "drop")

    assert (kept.n_rows, kept.n_dropped) == (2, 3)
    assert kept.digest == read(b"x,y\n3,4\n5,6\n", CSV).digest


def test_a_table_of_unusable_rows_alone_is_refused() -> None:
    assert "2 were dropped" in refusal(b"x,y\n1,\n,2\n", CSV, missing="drop")


@pytest.mark.parametrize("missing", ["refuse", "drop"])
@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"x,y\n" + b"1,bad\n" * 10 + b"1,2\n" * 10 + b"worse\n" * 1_000_000, CSV),
        (b"x\n1\n" + b"bad\n" * 1_000_000, CSV),
        (b"x\n" + b"nan\n" * 1_000_000, CSV),
        (b'{"x":1}\n' + b'{"x":"bad"}\n' * 300_000, NDJSON),
        (b'{"x":1}\n' + b'{"z":1}\n' * 300_000, NDJSON),
    ],
)
def test_a_million_errors_are_described_by_a_few_at_once(
    content: bytes, media_type: str, missing: Missing
) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidTable) as refused:
        read(content, media_type, missing)

    assert 1 <= len(refused.value.places) <= MOST_PLACES
    assert time.monotonic() - began < 30


def zipped(n_bytes: int) -> bytes:
    return saved(lambda file: np.savez_compressed(file, x=np.zeros(n_bytes // 8)))


def test_archives_that_inflate_past_the_limit_are_stopped() -> None:
    bomb = zipped(64_000_000)
    assert len(bomb) < 100_000

    tracemalloc.start()
    with pytest.raises(TooLarge, match="1000000 bytes"):
        read(bomb, NPZ, most_bytes=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8_000_000


def test_an_archive_that_lies_about_its_size_is_stopped() -> None:
    honest = bytearray(zipped(8_000_000))
    with zipfile.ZipFile(io.BytesIO(bytes(honest))) as archive:
        (listed,) = archive.infolist()
    size = listed.file_size.to_bytes(4, "little")
    lying = bytes(honest).replace(size, (8_000).to_bytes(4, "little"))

    with pytest.raises((InvalidTable, TooLarge)):
        read(lying, NPZ, most_bytes=1_000_000)


@pytest.mark.parametrize("file", [True, False])
def test_compressed_batches_are_measured_before_they_are_inflated(file: bool) -> None:
    table = {"x": np.zeros(1_000_000)}
    media_type = FILE if file else STREAM

    with pytest.raises(TooLarge):
        read(as_arrow(table, file=file, compression="zstd"), media_type, most_bytes=1_000_000)


def test_a_parquet_file_that_inflates_past_the_limit_is_refused() -> None:
    constant = as_parquet({"x": np.zeros(4_000_000)})
    plain = as_parquet({"x": np.arange(500_000.0)}, use_dictionary=False, compression="zstd")

    for content in (constant, plain):
        with pytest.raises(TooLarge):
            read(content, PARQUET, most_bytes=1_000_000)


@pytest.mark.parametrize("missing", ["refuse", "drop"])
def test_rows_without_bytes_are_counted(missing: Missing) -> None:
    nothing = pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])
    endless = as_arrow({"x": nothing})

    with pytest.raises((InvalidTable, TooLarge)):
        read(endless, FILE, missing)
