"""Named arrays come back from bytes as they went in."""

import numpy as np
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from service.named_arrays import pack, unpack

DTYPES = ("float32", "float64", "int64", "uint8")


@given(names=st.lists(st.text(min_size=1, max_size=8), min_size=1, unique=True), data=st.data())
def test_arrays_keep_their_order_and_every_bit(names: list[str], data: st.DataObject) -> None:
    arrays = {
        name: np.arange(i % 3 + 1, dtype=data.draw(st.sampled_from(DTYPES)))
        for i, name in enumerate(names)
        if name != "__metadata__"
    }

    found = unpack(pack(arrays))

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert pack(arrays) == pack(found)


def test_a_file_of_another_writer_has_the_order_of_its_names() -> None:
    content = safetensors.numpy.save({"b": np.zeros(1), "a": np.ones(2)})

    assert list(unpack(content)) == ["a", "b"]
