"""Short fits that were claimed together, computed by one call of the engine."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from service.kinds import FIT
from service.lifecycle import Claim
from workers.engine import Data, Result, Specification, fit_together, fits_together
from workers.inputs import Columns, Loaded, OpenedData
from workers.memory_bound import MemoryBound

log = structlog.get_logger(__name__)

# A table of more rows is not read before its own fit's turn.
_MOST_ROWS = 1_024


@dataclass(frozen=True)
class Computed:
    """A fit that is done before its turn: what it was made of, and what its rows took to read."""

    spec: Specification
    loaded: Loaded
    result: Result
    data_seconds: float


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
    bound = MemoryBound(most_bytes)
    try:
        read = [one for claim in claims if (one := _read(claim, data)) is not None]
        results = fit_together([one.spec for one in read], [one.rows for one in read])
        bound.check()
    except Exception as error:
        # At the edge of a group as at that of a fit: no claim may be left without an end.
        log.warning("not_computed_together", error=repr(error), fits=len(claims))
        return {}
    return {
        read[i].claim.fit_id: Computed(read[i].spec, read[i].loaded, result, read[i].seconds)
        for i, result in results.items()
    }


def _read(claim: Claim, data: OpenedData) -> _Read | None:
    """The claim's fit with its rows; None where it is not one to be computed before its turn."""
    if claim.kind != FIT.name or claim.validation is not None or claim.n_rows > _MOST_ROWS:
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
