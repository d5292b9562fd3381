"""Claims for the tests: of one fit, whatever waits beside it."""

from typing import Any

from service import lifecycle
from service.context import Context
from service.lifecycle import Claim, End
from service.queue import FITS_CPU, FITS_SMALL

FIT_QUEUES = (FITS_SMALL, FITS_CPU)


def claim_one(context: Context, fit_id: str, worker: str) -> Claim | None:
    """The fit, where it waits; what was claimed with it is given back."""
    claims = [c for q in FIT_QUEUES for c in lifecycle.claim_waiting(context, q, worker)]
    for other in claims:
        if other.fit_id != fit_id:
            lifecycle.requeue(context, other)
    return next((found for found in claims if found.fit_id == fit_id), None)


def finish_one(context: Context, claim: Claim, **end: Any) -> bool:
    """Write the claim's end; False where it is lost."""
    return lifecycle.finish(context, [End(claim, **end)])[0]


def undelivered_fits(context: Context) -> int:
    """Wake-ups for fits that no worker has taken up yet."""
    return sum(context.queue.undelivered(queue) for queue in FIT_QUEUES)
