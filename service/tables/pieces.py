"""What readers share: pieces of a table, and how they are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.errors import TooLarge
from service.tables.columns import Cells

PIECE_BYTES = 4 * 1024**2
# A digit and what parts it from the next.
_TEXT_CELL_BYTES = 2
PIECE_ROWS = 65_536


@dataclass(frozen=True)
class ReadOptions:
    """How text is read; `most_bytes` bounds what a compressed table may inflate to."""

    delimiter: str = ","
    header: bool = True
    most_bytes: int = 2 * 1024**3

    def refuse_inflated(self, n_bytes: int) -> None:
        """Raise TooLarge where a compressed table holds more than `most_bytes`."""
        if n_bytes > self.most_bytes:
            raise TooLarge(f"the table inflates to more than {self.most_bytes} bytes")

    def refuse_cells(self, n_cells: int) -> None:
        """Raise TooLarge where a table has more cells than any text of `most_bytes`."""
        most = self.most_bytes // _TEXT_CELL_BYTES
        if n_cells > most:
            raise TooLarge(f"the table has more than {most} cells")


@dataclass(frozen=True)
class Piece:
    """Some rows of a table: its columns' names and cells."""

    names: tuple[str, ...]
    columns: tuple[Cells, ...]


Reader = Callable[[Path, ReadOptions], Iterator[Piece]]


def piece_rows(n_columns: int) -> int:
    """The rows of so many columns that make a piece of bounded size."""
    return max(1, min(PIECE_ROWS, PIECE_BYTES // (8 * n_columns)))
