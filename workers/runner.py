"""Claims end to end: load, compute, record, finish."""

import os
import socket
import time
from collections.abc import Mapping

import numpy as np
import structlog

from service import lifecycle
from service.artifacts import store_arrays
from service.context import Context
from service.lifecycle import Claim, End
from workers import engine
from workers.draining import draining
from workers.engine import SpecificationError
from workers.fit_run import FitRun
from workers.heartbeat import Heartbeat
from workers.inputs import opened_data
from workers.lr_range_run import LrRangeRun
from workers.metrics import RegressionMetrics
from workers.peak_memory import forget_peak
from workers.runs import Watch

log = structlog.get_logger(__name__)

# Waiters of short fits hear of them this soon.
_HELD_BACK_SECONDS = 0.1

WORKER = f"{socket.gethostname()}-{os.getpid()}"

Run = FitRun | LrRangeRun
# One entry a kind of job.
RUNS: Mapping[str, type[Run]] = {"fit": FitRun, "lr_range_test": LrRangeRun}


def warm_up() -> None:
    """Load and compile all that a first fit would otherwise wait for."""
    engine.warm_up()
    RegressionMetrics().add(np.zeros((2, 1)), np.ones((2, 1)))


def run_waiting(context: Context, queue: str) -> None:
    """Claim what waits first in the queue, and see it to its end."""
    if draining():
        # What waits is found by whoever starts next.
        return
    claims = lifecycle.claim_waiting(context, queue, WORKER)
    if not claims:
        return
    with Heartbeat(context, claims) as heartbeat:
        ends = _Ends(context, heartbeat)
        for claim in claims:
            with structlog.contextvars.bound_contextvars(
                fit_id=claim.fit_id,
                kind=claim.kind,
                attempt=claim.attempt,
                traceparent=claim.traceparent,
            ):
                end = _run(context, claim, heartbeat)
            if end is not None:
                ends.add(end)
        ends.write()


class _Ends:
    """The ends of fits that were claimed together: written at once, but none is held back long."""

    def __init__(self, context: Context, heartbeat: Heartbeat) -> None:
        self._context = context
        self._heartbeat = heartbeat
        self._waiting: list[End] = []
        self._since = time.monotonic()

    def add(self, end: End) -> None:
        """Write the end soon."""
        self._waiting.append(end)
        if time.monotonic() - self._since > _HELD_BACK_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what waits, and tell."""
        ends, self._waiting, self._since = self._waiting, [], time.monotonic()
        if not ends:
            return
        for end, done in zip(ends, lifecycle.finish(self._context, ends), strict=True):
            self._heartbeat.release(end.claim)
            log.info(
                "fit_ended" if done else "claim_lost",
                fit_id=end.claim.fit_id,
                attempt=end.claim.attempt,
                traceparent=end.claim.traceparent,
                stop_reason=end.stop_reason,
            )


def _run(context: Context, claim: Claim, heartbeat: Heartbeat) -> End | None:
    """The claim's end; None where it is lost, or goes on elsewhere."""
    try:
        return _compute(context, claim, heartbeat)
    except SpecificationError as error:
        return _failure(claim, "invalid_spec", "user", str(error))
    except Exception:
        # The outermost edge: the fit must end, and the operator must see why.
        log.exception("fit_crashed")
        return _failure(claim, "internal_error", "server", "the service failed; its log says why")


def _compute(context: Context, claim: Claim, heartbeat: Heartbeat) -> End | None:
    began = time.perf_counter()
    forget_peak()
    with opened_data(context, claim) as loaded:
        data_seconds = time.perf_counter() - began
        run = RUNS[claim.kind].of(context, claim, loaded, Watch(heartbeat, claim))
        if heartbeat.lost(claim):
            log.warning("claim_lost")
            return None
        if run.interrupted and not heartbeat.cancelled(claim):
            heartbeat.release(claim)
            lifecycle.requeue(context, claim)
            log.info("fit_requeued", step=run.n_steps)
            return None
        # The metrics of a large table take a while too.
        return _end(context, claim, run, data_seconds)


def _end(context: Context, claim: Claim, run: Run, data_seconds: float) -> End:
    """The artifacts are stored first; the row is written last."""
    began = time.perf_counter()
    ending = run.ending()
    rows = [
        store_arrays(context, claim.fit_id, claim.fence, name, arrays)
        for name, arrays in ending.artifacts.items()
    ]
    ending.result["diagnostics"]["seconds"] = {
        "queued": claim.started_at - claim.created_at,
        "data": data_seconds,
        "compute": ending.compute_seconds,
        "record": time.perf_counter() - began,
    }
    return End(claim, ending.status, ending.stop_reason, ending.result, ending.error, rows)


def _failure(claim: Claim, code: str, category: str, message: str) -> End:
    error = {"code": code, "category": category, "message": message}
    return End(claim, "failed", "error", None, error)
