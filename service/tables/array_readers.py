"""NumPy's formats: one array, or an archive of named ones; never unpickled."""

import lzma
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from service.errors import InvalidTable, Place
from service.tables.columns import Cells, from_typed
from service.tables.mapped import MappedFile
from service.tables.pieces import Piece, ReadOptions, piece_rows
from service.tables.places import MOST_COLUMNS, refuse, refuse_bad_names, refuse_lengths

Array = NDArray[Any]

_CHUNK_BYTES = 1024**2
_ZIP_MAGIC = b"PK"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What numpy raises of a header, which it reads as a Python literal.
_BROKEN_HEADER = (
    *(ValueError, TypeError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, tokenize.TokenError),
)
# What zipfile raises of a broken or encrypted member, beside errors of its own.
_BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, NotImplementedError, ValueError),
)


@dataclass(frozen=True)
class _Member:
    """Where one array's file begins and ends."""

    name: str
    first: int
    stop: int


def read_npy(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """A 1-d or 2-d array as the columns `0`, `1`, …."""
    with path.open("rb") as file:
        if file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC:
            raise InvalidTable("this is an NPZ archive: send it as application/x-npz")
        yield from _pieces(file, [_Member("", 0, path.stat().st_size)], options)


def read_npz(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """Named 1-d and 2-d arrays of one length; a 2-d one becomes `name.0`, `name.1`, …."""
    with tempfile.TemporaryFile() as inflated:
        members = _inflate(path, inflated, options)
        yield from _pieces(inflated, members, options)


def _inflate(path: Path, target: IO[bytes], options: ReadOptions) -> list[_Member]:
    """Write every array's file into the target, one behind the other."""
    members = []
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            refuse_bad_names([name.removesuffix(".npy") for name in names])
            for name, listed in zip(names, archive.infolist(), strict=True):
                first = target.tell()
                with archive.open(listed) as source:
                    while chunk := source.read(_CHUNK_BYTES):
                        target.write(chunk)
                        # Counted here, because what an archive says of its sizes can be wrong.
                        options.refuse_inflated(target.tell())
                members.append(_Member(name.removesuffix(".npy"), first, target.tell()))
    except _BROKEN_ARCHIVE as error:
        raise InvalidTable(f"the NPZ file cannot be read: {error}") from error
    target.flush()
    return members


def _pieces(file: BinaryIO | IO[bytes], members: list[_Member], options: ReadOptions) -> Any:
    columns: dict[str, Array] = {}
    mapped: MappedFile | None = None
    for member in members:
        if member.first == member.stop:
            _refuse_broken(member.name, "it is empty")
        mapped = mapped or MappedFile(file)  # type: ignore[arg-type]
        array = _open(file, member, mapped.view)
        added = _columns_of(member.name, array)
        refuse_bad_names([*columns, *added])
        columns |= added
    lengths = {name: len(array) for name, array in columns.items()}
    refuse_lengths(lengths)
    n_rows = max(lengths.values())
    options.refuse_cells(n_rows * len(columns))
    step = piece_rows(len(columns))
    for first in range(0, n_rows, step):
        yield Piece(
            tuple(columns),
            tuple(_cells(n, array[first : first + step], first) for n, array in columns.items()),
        )
        if mapped:
            mapped.forget()


def _open(file: BinaryIO | IO[bytes], member: _Member, view: memoryview) -> Array:
    """The array, read from the file as it is used."""
    file.seek(member.first)
    try:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            _refuse_broken(member.name, f"version {version} is not known")
        shape, fortran, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            _refuse_broken(member.name, "it holds pickled objects, which are never unpickled")
        content = view[file.tell() : member.stop]
        return np.ndarray(shape, dtype, content, order="F" if fortran else "C")
    except _BROKEN_HEADER as error:
        _refuse_broken(member.name, str(error))


def _refuse_broken(name: str, reason: str) -> NoReturn:
    raise InvalidTable(
        f"the array {name!r} cannot be read: {reason}"
        if name
        else f"the NPY file cannot be read: {reason}"
    )


def _columns_of(name: str, array: Array) -> dict[str, Array]:
    if array.dtype.kind not in "iufU":
        detail = f"an array of type {array.dtype} is neither numbers nor text"
        refuse([Place("unsupported_type", detail, column=name or None)])
    if array.ndim == 1:
        return {name or "0": array}
    if array.ndim != 2 or array.shape[1] > MOST_COLUMNS:  # noqa: PLR2004
        detail = f"an array of shape {array.shape} is no column and no table"
        refuse([Place("unsupported_shape", detail, column=name or None)])
    prefix = f"{name}." if name else ""
    return {f"{prefix}{i}": array[:, i] for i in range(array.shape[1])}


def _cells(name: str, values: Array, first_row: int) -> Cells:
    if values.dtype.kind == "U":
        return from_typed(name, pa.array(values.tolist(), pa.string()), first_row)
    return from_typed(name, pa.array(values.astype(np.float64)), first_row)
