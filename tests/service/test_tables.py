"""Tables: what is read, to the bit, and what is refused, with its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.errors import InvalidTable
from service.tables import MOST_PLACES, Table, from_arrow, from_columns, read_csv, to_arrow

finite = st.floats(allow_nan=False, allow_infinity=False)


def read_places(source: bytes, **options: object) -> list[tuple[str, int | None, str | None]]:
    with pytest.raises(InvalidTable) as refused:
        read_csv(source, **options)  # type: ignore[arg-type]
    return [(p.code, p.row, p.column) for p in refused.value.places]


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (b"x,y\n1,2\n3,4e-3\n", {}),
        (b'\xef\xbb\xbfx,"y"\r\n1,"2"\r\n3, 0.004 \r\n', {}),
        (b"x;y\n1;2\n3;.004\n", {"delimiter": ";"}),
        (b"x\ty\n1\t2\n3\t4.0E-3", {"delimiter": "\t"}),
    ],
)
def test_csv_dialects_give_the_same_table(source: bytes, options: dict[str, str]) -> None:
    table = read_csv(source, **options)  # type: ignore[arg-type]

    assert table.names == ("x", "y")
    assert [c.tolist() for c in table.columns] == [[1, 3], [2, 0.004]]


def test_without_a_header_columns_are_numbered() -> None:
    assert read_csv(b"1,2\n3,4\n", header=False).names == ("0", "1")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"x,y\n1,2\n3\n4,5\n6,7,8\n", [("ragged_row", 1, None), ("ragged_row", 3, None)]),
        (b"x,y\n1,\n3,abc\n", [("missing_value", 0, "y"), ("not_a_number", 1, "y")]),
        (b"x,y\n1,nan\n-inf,2\n", [("not_finite", 1, "x"), ("not_finite", 0, "y")]),
        (b"x,x\n1,2\n", [("duplicate_column_name", None, "x")]),
        (b"x,\n1,2\n", [("empty_column_name", None, "")]),
        (b"x,y\n", [("no_rows", None, None)]),
        (b"x,y\n0x10,1_0\n", [("not_a_number", 0, "x"), ("not_a_number", 0, "y")]),
        (b"x,y\n1,\xff\n", []),
        (b"", []),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    source: bytes, expected: list[tuple[str, int | None, str | None]]
) -> None:
    assert read_places(source) == expected


def test_without_a_header_the_first_row_is_row_0() -> None:
    assert read_places(b"1,2\n3\n", header=False) == [("ragged_row", 1, None)]


def test_a_million_bad_values_are_described_by_a_few() -> None:
    assert len(read_places(b"x\n" + b"bad\n" * 100_000)) == MOST_PLACES


@given(npst.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=finite))
def test_numbers_survive_csv_json_and_the_store_bit_for_bit(values: np.ndarray) -> None:
    names = [f"c{i}" for i in range(values.shape[1])]
    lines = [",".join(names), *(",".join(map(repr, row)) for row in values.tolist())]

    from_csv = read_csv("\n".join(lines).encode())
    from_json = from_columns(dict(zip(names, values.T.tolist(), strict=True)), most_rows=20)

    for table in (from_csv, from_json, from_arrow(to_arrow(from_csv))):
        assert table.matrix(names).tobytes() == values.tobytes()
        assert table.digest() == from_csv.digest()
        assert table.summary() == from_csv.summary()


def test_the_digest_tells_names_order_and_the_last_bit() -> None:
    base = Table(("x", "y"), (np.array([1.0]), np.array([2.0])))
    others = [
        Table(("x", "z"), base.columns),
        Table(("y", "x"), base.columns),
        Table(("x", "y"), (np.array([np.nextafter(1.0, 2)]), base.columns[1])),
    ]

    assert len({table.digest() for table in (base, *others)}) == 4


def test_the_summary_is_numpys() -> None:
    values = np.array([3.0, 1.0, 1.0, 1e300, -1e300])

    (summary,) = Table(("x",), (values[:3],)).summary()
    (large,) = Table(("x",), (values,)).summary()

    assert summary == {
        "name": "x", "type": "number", "min": 1.0, "max": 3.0,
        "mean": pytest.approx(values[:3].mean()), "std": pytest.approx(values[:3].std()),
        "n_distinct": 2,
    }  # fmt: skip
    assert large["std"] == pytest.approx(np.sqrt(2 / 5) * 1e300)


def test_columns_of_different_lengths_are_refused_with_pointers() -> None:
    with pytest.raises(InvalidTable) as refused:
        from_columns({"a/b": [1.0], "y": [1.0, 2.0]}, most_rows=10)

    assert [p.pointer for p in refused.value.places] == ["/columns/a~1b"]


def test_inline_rows_are_bounded() -> None:
    with pytest.raises(InvalidTable, match="THALWEG_MAX_INLINE_ROWS"):
        from_columns({"x": [1.0, 2.0]}, most_rows=1)
