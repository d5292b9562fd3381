"""Ids of many at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from service import ids
from service.ids import new_ids


@given(number=st.integers(0, 2**128 - 1))
def test_many_are_spelled_as_the_library_spells_one(number: int) -> None:
    assert ids._letters(number) == str(ULID.from_int(number))


@pytest.mark.parametrize("n", [0, 1, 10_000])
def test_many_are_ulids_that_sort_in_their_order(n: int) -> None:
    made = new_ids("fit", n)

    assert (len(set(made)), made) == (n, sorted(made))
    for one in made:
        prefix, _, letters = one.partition("_")
        assert (prefix, str(ULID.from_str(letters))) == ("fit", letters)
