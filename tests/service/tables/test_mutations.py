"""Any mutation of a valid file is a valid table or a refusal: no crash, no hang."""

import gzip
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput, TooLarge
from service.tables.canonical import Ingested
from tests.service.tables.given import FORMS, NPY, as_arrow, as_npz, as_parquet, read, saved

COLUMNS: dict[str, Any] = {
    "x": np.linspace(-1, 1, 40),
    "y": np.arange(40),
    "c": ["red", "green", 'b,"l"ue', "ß"] * 10,
}
LISTS: dict[str, Any] = {"f": [[1.0, 2.0]] * 20, "y": np.arange(20.0)}
FILES = {name: form(COLUMNS) for name, form in FORMS.items()} | {
    "npy": (saved(lambda file: np.save(file, np.arange(60.0).reshape(20, 3))), NPY),
    "lists in arrow": (as_arrow(LISTS), FORMS["arrow file"](COLUMNS)[1]),
    "lists in parquet": (as_parquet(LISTS), FORMS["parquet"](COLUMNS)[1]),
    "plain parquet": (
        as_parquet(COLUMNS, compression="none", use_dictionary=False),
        FORMS["parquet"](COLUMNS)[1],
    ),
    "2-d npz": (as_npz({"f": np.ones((9, 4))}), FORMS["npz"](COLUMNS)[1]),
}
LONGEST_SECONDS = 20


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes changed, cut out, doubled, or put in; or the end cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.integers(1, 12))
        match draw(st.sampled_from(["set", "flip", "cut", "double", "insert", "end"])):
            case "set":
                changed[place : place + length] = draw(st.binary(min_size=length, max_size=length))
            case "flip" if changed:
                changed[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del changed[place : place + length]
            case "double":
                changed[place:place] = changed[place : place + length]
            case "insert":
                changed[place:place] = draw(st.binary(max_size=length))
            case _:
                del changed[place:]
    return bytes(changed)


def read_or_refuse(content: bytes, media_type: str) -> Ingested | None:
    began = time.monotonic()
    try:
        return read(content, media_type, most_bytes=10_000_000)
    except (InvalidInput, TooLarge):
        return None
    finally:
        assert time.monotonic() - began < LONGEST_SECONDS


@pytest.mark.parametrize("form", FILES)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutated_file_is_a_table_or_refused(form: str, data: st.DataObject) -> None:
    content, media_type = FILES[form]

    found = read_or_refuse(data.draw(mutations(content)), media_type)

    if found is not None:
        assert found.n_rows > 0
        assert all(
            column["type"] == "category" or np.isfinite([column["min"], column["max"]]).all()
            for column in found.columns
        )


@pytest.mark.parametrize("form", FILES)
def test_every_cut_of_a_file_is_a_table_or_refused(form: str) -> None:
    content, media_type = FILES[form]

    for length in range(0, len(content), max(1, len(content) // 200)):
        read_or_refuse(content[:length], media_type)


@given(content=st.binary(max_size=300))
def test_anything_at_all_is_a_table_or_refused(content: bytes) -> None:
    for media_type in {kind for _, kind in FILES.values()}:
        read_or_refuse(content, media_type)
        read_or_refuse(gzip.compress(content), media_type)
