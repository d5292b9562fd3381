"""One column's cells of any accepted type → numbers or text, with what is missing among them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.errors import Place
from service.tables.places import MOST_PLACES, refuse

Kind = Literal["number", "category"]
Mask = NDArray[np.bool_]

LONGEST_TEXT_BYTES = 200


@dataclass(frozen=True)
class Cells:
    """Some rows of one column.

    `values`: (m,) float64 of a number column, a string array of m of a category. `missing` and
    `bad` are (m,): bad is what a fit cannot use, missing cells and numbers that are not finite.
    """

    kind: Kind
    values: Any
    missing: Mask
    bad: Mask

    def take(self, kept: Mask) -> "Cells":
        """The rows that are kept."""
        number = self.kind == "number"
        values = self.values[kept] if number else self.values.filter(pa.array(kept))
        return Cells(self.kind, values, self.missing[kept], self.bad[kept])

    def settled(self, kind: Kind | None) -> Kind | None:
        """The column's kind after these cells: still None where all so far were missing."""
        return None if kind is None and self.missing.all() else self.kind


def numbers(values: NDArray[np.float64], missing: Mask) -> Cells:
    """Cells of a number column."""
    return Cells("number", values, missing, ~np.isfinite(values) | missing)


def texts(name: str, values: pa.Array, first_row: int) -> Cells:
    """Cells of a category, without the spaces around them; an empty text is missing.

    Raises InvalidTable at a text that is too long to be a category's, or no UTF-8.
    """
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(pc.cast(values, pa.string()), ""))
    lengths = pc.binary_length(trimmed).to_numpy(zero_copy_only=False)
    too_long = np.flatnonzero(lengths > LONGEST_TEXT_BYTES)[:MOST_PLACES]
    if len(too_long):
        detail = f"a text of more than {LONGEST_TEXT_BYTES} bytes is no category"
        refuse(Place("long_text", detail, row=first_row + int(i), column=name) for i in too_long)
    missing = lengths == 0
    return Cells("category", trimmed, missing, missing)


def from_text(name: str, array: pa.Array, kind: Kind | None, first_row: int) -> Cells:
    """Cells of a text format. A column is of the kind of its first cell that is not missing.

    `kind` is None before that cell was seen. Raises InvalidTable at a text in a number column.
    """
    if kind == "category":
        return texts(name, array, first_row)
    trimmed = pc.utf8_trim_whitespace(array)
    missing = _mask(pc.equal(trimmed, ""))
    if kind is None and not _begins_with_number(trimmed, missing):
        return texts(name, array, first_row)
    filled = pc.if_else(pa.array(missing), "nan", trimmed) if missing.any() else trimmed
    try:
        values = pc.cast(filled, pa.float64())
    except pa.ArrowInvalid:
        refuse(_text_places(name, filled, first_row))
    return numbers(values.to_numpy(zero_copy_only=False), missing)


def _begins_with_number(cells: pa.Array, missing: Mask) -> bool:
    present = np.flatnonzero(~missing)
    return not len(present) or _is_number(cells[int(present[0])].as_py())


def _text_places(name: str, cells: pa.Array, first_row: int) -> Iterator[Place]:
    for i, cell in enumerate(cells):
        text = cell.as_py()
        if not _is_number(text):
            detail = f"{text[:50]!r} is not a number"
            yield Place("not_a_number", detail, row=first_row + i, column=name)


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def from_typed(name: str, array: pa.Array, first_row: int) -> Cells:
    """Cells of a typed format; raises InvalidTable where the type is no number and no text."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if _is_text(kind.value_type):
            # Before each row gets a copy of its text.
            texts(name, array.dictionary, first_row)
        return from_typed(name, array.dictionary_decode(), first_row)
    if _is_text(kind):
        return texts(name, array, first_row)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not numeric and not pa.types.is_null(kind):
        detail = f"a column of type {kind} is neither numbers nor text"
        refuse([Place("unsupported_type", detail, column=name)])
    missing = _mask(pc.is_null(array))
    # Past 2**53 an integer is taken as the nearest float64.
    values = pc.fill_null(pc.cast(array, pa.float64(), safe=False), np.nan)
    return numbers(values.to_numpy(zero_copy_only=False), missing)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _mask(array: pa.Array) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.bool_)
