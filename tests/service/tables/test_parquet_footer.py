"""A footer's numbers beside Arrow's own, and files whose footers contradict themselves."""

import io
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.errors import InvalidInput
from service.tables.parquet_footer import MOST_FOOTER_BYTES, MOST_VALUES, RowGroup, row_groups
from tests.service.tables.given import FORMS, read

TABLES: dict[str, Any] = {
    "numbers": {"x": np.linspace(0, 1, 1_000), "y": np.arange(1_000)},
    "texts": {"c": ["red", "green", None, "blue"] * 250, "y": np.arange(1_000)},
    "lists": {"f": [[1.0, 2.0], [3.0]] * 500, "y": np.arange(1_000)},
    "many": {f"column {i}": np.arange(20) for i in range(300)},
    "nothing": {"x": np.empty(0)},
}
WRITTEN: dict[str, dict[str, Any]] = {
    "as usual": {},
    "in groups": {"row_group_size": 7},
    "plain": {"compression": "none", "use_dictionary": False, "write_statistics": False},
    "indexed": {"write_page_index": True, "write_page_checksum": True},
    "of old": {"version": "1.0", "store_schema": False},
}
# Seeds of `mutated` whose files end a process that asks Arrow for a chunk's metadata.
CONTRADICTING = {
    "numbers": (1639, 1654, 2430, 3808, 6833, 6898),
    "texts": (294, 1639, 1654, 1683, 4346, 4633),
    "lists": (1570, 1683, 1808, 3438, 5487, 6189),
}
END_BYTES = 8


def written(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def by_arrow(content: bytes) -> list[RowGroup]:
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return [
        RowGroup(
            group.total_byte_size,
            tuple(group.column(j).num_values for j in range(group.num_columns)),
        )
        for group in groups
    ]


def mutated(content: bytes, seed: int) -> bytes:
    """Some bytes of the footer changed, cut out, doubled or put in; its length is right again."""
    draws = random.Random(seed)  # noqa: S311 (seeded, so that a failure can be looked at)
    length = int.from_bytes(content[-8:-4], "little")
    first = len(content) - END_BYTES - length
    changed = bytearray(content[:-END_BYTES])
    for _ in range(draws.randint(1, 3)):
        place, size = draws.randrange(first, len(changed)), draws.randint(1, 6)
        match draws.choice(["set", "flip", "cut", "double", "insert"]):
            case "set":
                changed[place : place + size] = draws.randbytes(size)
            case "flip":
                changed[place] ^= 1 << draws.randrange(8)
            case "cut":
                del changed[place : place + size]
            case "double":
                changed[place:place] = changed[place : place + size]
            case _:
                changed[place:place] = draws.randbytes(size)
    return bytes(changed) + (len(changed) - first).to_bytes(4, "little") + content[-4:]


@pytest.mark.parametrize("options", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_a_footer_tells_what_arrow_reads_from_it(
    columns: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    content = written(columns, **options)
    path = tmp_path / "table.parquet"
    path.write_bytes(content)

    assert row_groups(path) == by_arrow(content)


def test_a_footer_that_contradicts_itself_ends_no_process() -> None:
    # In a process of its own, which a crash would end.
    program = f"from {__name__} import read_mutated; read_mutated()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"{sum(map(len, CONTRADICTING.values()))} were looked at\n"


def read_mutated() -> None:
    """Read each of the mutations, or refuse it; says how many there were."""
    media_type = FORMS["parquet"](TABLES["numbers"])[1]
    n = 0
    for table, seeds in CONTRADICTING.items():
        content = written(TABLES[table], compression="none")
        for seed in seeds:
            n += 1
            with suppress(InvalidInput):
                read(mutated(content, seed), media_type)
    sys.stdout.write(f"{n} were looked at\n")


@pytest.mark.parametrize(
    ("footer", "why"),
    [
        (b"", "too early"),
        (b"\x49\x1c", "too early"),
        (b"\x1c" * 2_000, "nested"),
        (b"\x16" + b"\xff" * 20, "too long"),
        (b"\x1d\x00", "none of Parquet's"),
        (b"\x49\x15\x00\x00", "none of Parquet's"),
        (b"\x18\xff\xff\xff\x7f\x00", "too early"),
    ],
)
def test_what_is_no_footer_is_refused(footer: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(footer + len(footer).to_bytes(4, "little") + b"PAR1")

    with pytest.raises(ValueError, match=why):
        row_groups(path)


def test_a_footer_that_would_take_long_to_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    length = MOST_FOOTER_BYTES + 1
    path.write_bytes(bytes(length) + length.to_bytes(4, "little") + b"PAR1")

    with pytest.raises(ValueError, match="fewer row groups"):
        row_groups(path)


# Of as many bytes as are read: truth values and numbers in fields, and lists of much of nothing.
N_BYTES = MOST_FOOTER_BYTES - 100
ENDLESS = b"\xff" * 8 + b"\x7f"
SLOW = {
    "truths": b"\x11" * N_BYTES,
    "numbers": b"\x15\x00" * (N_BYTES // 2),
    "texts": b"\x18\x00" * (N_BYTES // 2),
    "list of numbers": b"\x19\xf5" + ENDLESS + bytes(N_BYTES),
    "list of structs": b"\x19\xfc" + ENDLESS + bytes(N_BYTES),
    "row groups": b"\x49\xfc" + ENDLESS + bytes(N_BYTES),
    "lists in lists": b"\x19\xf9\x80\x80\x40" + b"\x15\x00" * (N_BYTES // 2),
}


@pytest.mark.parametrize("footer", SLOW.values(), ids=SLOW)
def test_no_footer_is_read_for_long(footer: bytes, tmp_path: Path) -> None:
    # given a footer of the longest length, in which almost every byte is a value
    path = tmp_path / "table.parquet"
    path.write_bytes(footer + len(footer).to_bytes(4, "little") + b"PAR1")

    # then reading it ends long before its end
    with pytest.raises(ValueError, match=f"more than {MOST_VALUES} values: write fewer row groups"):
        row_groups(path)


@pytest.mark.parametrize(("n_columns", "n_groups"), [(10_000, 1), (500, 20), (100, 100)])
def test_wide_and_long_tables_are_read(n_columns: int, n_groups: int, tmp_path: Path) -> None:
    columns = {f"a column {i}": np.arange(n_groups) / 3 for i in range(n_columns)}
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=1, write_page_index=True)

    groups = row_groups(path)

    assert [group.n_values for group in groups] == [(1,) * n_columns] * n_groups
