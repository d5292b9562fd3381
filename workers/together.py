"""Short fits that were claimed together, computed by one call of the engine."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from service.kinds import FIT
from service.lifecycle import Claim
from workers.engine import Data, Result, Specification, fit_together, fits_together
from workers.inputs import Columns, Loaded, OpenedData
from workers.memory_bound import MemoryBound
from workers.peak_memory import peak_bytes

log = structlog.get_logger(__name__)

# A table of more rows is not read before its own fit's turn.
_MOST_ROWS = 1_024


@dataclass(frozen=True)
class Computed:
    """A fit that is done before its turn: what it was made of, and what its rows took to read.

    `peak_bytes` is the most memory that the process held until all that are done so were.
    """

    spec: Specification
    loaded: Loaded
    result: Result
    data_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class _Read:
    claim: Claim
    spec: Specification
    loaded: Loaded
    rows: Data
    seconds: float


def compute_together(
    claims: Sequence[Claim], data: OpenedData, most_bytes: int | None
) -> Mapping[str, Computed]:
    """The fits of the claims that need nobody to watch them, by their ids.

    The others, and all of them where anything fails, are left for their own turns, which tell whose
    it was: so too where all of them together take more than `most_bytes`, which one may take.
    """
    bound, readings = MemoryBound(most_bytes), _Readings(data)
    try:
        read = [one for claim in claims if (one := readings.of(claim)) is not None]
        results = fit_together([one.spec for one in read], [one.rows for one in read])
        bound.check()
        peak = peak_bytes()
    except Exception as error:
        # At the edge of a group as at that of a fit: no claim may be left without an end.
        log.warning("not_computed_together", error=repr(error), fits=len(claims))
        return {}
    return {
        one.claim.fit_id: Computed(one.spec, one.loaded, results[i], one.seconds, peak)
        for i, one in enumerate(read)
        if i in results
    }


class _Readings:
    """Claims that are read one after the other: what one shares with the last is taken from it."""

    def __init__(self, data: OpenedData) -> None:
        self._data = data
        self._shared: Mapping[str, Any] | None = None
        self._last: _Read | None = None

    def of(self, claim: Claim) -> _Read | None:
        """The claim's fit with its rows; None where it is not to be computed before its turn."""
        if claim.kind != FIT.name:
            return None
        began = time.perf_counter()
        shared = _shared(claim)
        if shared != self._shared:
            self._last, self._shared = _read(claim, self._data), shared
            return self._last
        if self._last is None:
            return None
        spec = self._last.spec.beginning_as(claim.spec)
        last, seconds = self._last, time.perf_counter() - began
        return _Read(claim, spec, last.loaded, last.rows, seconds)


def _shared(claim: Claim) -> Mapping[str, Any]:
    """All of a claim but what its fit begins with, which decides neither rows nor strategy."""
    spec = claim.spec
    begins_otherwise = {
        "optimizer": {**spec["optimizer"], "lr": None},
        "init": "fit" in spec["init"],
        "seed": None,
    }
    return {
        "spec": {**spec, **begins_otherwise},
        "rows": claim.storage_key,
        "held_out": claim.validation,
    }


def _read(claim: Claim, data: OpenedData) -> _Read | None:
    if claim.validation is not None or claim.n_rows > _MOST_ROWS:
        return None
    began = time.perf_counter()
    spec = Specification.from_mapping(claim.spec)
    columns = Columns.of(claim.spec, claim.columns)
    # Whose target is a class is never least squares.
    if columns.of_classes or not fits_together(spec, columns.shape(claim.n_rows)):
        return None
    loaded = data.of(claim)
    if not isinstance(loaded.rows, Data):
        return None
    return _Read(claim, spec, loaded, loaded.rows, time.perf_counter() - began)
