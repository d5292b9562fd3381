"""The engine as a peer, by the strategy that is named as the first argument."""

import sys
from collections.abc import Sequence
from functools import partial

import numpy as np

from service.schemas.fits import FitRequest
from tests.benchmarks.peers.answering import Ready, answer_requests
from tests.benchmarks.peers.figures import Fitted
from tests.benchmarks.workloads import Job
from workers.engine import (
    Data,
    Result,
    Specification,
    fit,
    fit_many,
    hold_one_blas_thread,
    warm_up,
)


def prepare(jobs: list[Job], strategy: str = "auto") -> Ready[Sequence[Result]]:
    """Specifications and data as a worker has them when a fit begins."""
    specs = [specification(job, strategy) for job in jobs]
    tables = [Data(x=job.x, y=job.y, n_classes=job.n_classes) for job in jobs]
    return Ready(lambda: fit_all(specs, tables), _read)


def specification(job: Job, strategy: str) -> Specification:
    """The job's specification, every default filled in as the service does."""
    members = {"dataset": "ds_01", "target": "y", "strategy": strategy, **job.spec}
    resolved = FitRequest.model_validate(members).model_dump()
    return Specification.from_mapping(resolved | {"init": {"weights": job.init}})


def fit_all(specs: Sequence[Specification], tables: Sequence[Data]) -> Sequence[Result]:
    """Fit them all, several at once where there are several."""
    return [fit(specs[0], tables[0])] if len(specs) == 1 else fit_many(specs, tables)


def _read(results: Sequence[Result]) -> Fitted:
    return Fitted(
        weights=np.stack(
            [np.concatenate([w.ravel() for w in result.weights.values()]) for result in results]
        ),
        losses=np.stack([result.history.loss for result in results]),
        strategies=sorted({result.strategy for result in results}),
    )


if __name__ == "__main__":
    # As a worker's process does.
    hold_one_blas_thread()
    warm_up()
    answer_requests(partial(prepare, strategy=sys.argv[1]), ("torch", "numpy", "numba"))
