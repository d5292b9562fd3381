"""Claims end to end: load, compute, record, finish."""

import os
import socket
import time
from collections.abc import Mapping

import numpy as np
import structlog

from service import lifecycle
from service.artifacts import forget_attempt, store_arrays
from service.context import Context
from service.database import DatabaseError
from service.errors import Unavailable
from service.lifecycle import Claim, End
from workers import engine
from workers.draining import draining
from workers.engine import SpecificationError
from workers.fit_run import FitRun
from workers.heartbeat import Heartbeat
from workers.inputs import OpenedData
from workers.lr_range_run import LrRangeRun
from workers.memory_bound import MemoryBound, TooMuchMemory, explain_lack, lacks_memory
from workers.metrics import RegressionMetrics
from workers.outages import store_is_away, store_is_still_away
from workers.peak_memory import forget_peak
from workers.runs import Watch
from workers.together import Computed, compute_together

log = structlog.get_logger(__name__)

# Waiters of short fits hear of them this soon; hardly anybody waits for one of a batch.
_HELD_BACK_SECONDS = 0.1
_HELD_BACK_IN_A_BATCH_SECONDS = 0.5

WORKER = f"{socket.gethostname()}-{os.getpid()}"

# What says nothing about the fit: another attempt may go well.
_FOR_NOW = (OSError, DatabaseError, Unavailable)

Run = FitRun | LrRangeRun
# One entry a kind of job.
RUNS: Mapping[str, type[Run]] = {"fit": FitRun, "lr_range_test": LrRangeRun}


def warm_up() -> None:
    """Load and compile all that a first fit would otherwise wait for."""
    engine.warm_up()
    RegressionMetrics().add(np.zeros((2, 1)), np.ones((2, 1)))


def run_waiting(context: Context, queue: str) -> None:
    """Claim what waits first in the queue, and see it to its end."""
    if draining() or store_is_still_away(context):
        # What waits is found by whoever starts next, or sent again by the sweeper.
        return
    claims = lifecycle.claim_waiting(context, queue, WORKER)
    if not claims:
        return
    forget_peak()
    with Heartbeat(context, claims) as heartbeat, OpenedData(context) as data:
        ends = _Ends(context, heartbeat)
        done = compute_together(claims, data)
        for claim in claims:
            with structlog.contextvars.bound_contextvars(**claim.named):
                end = _run(context, claim, heartbeat, data, done.get(claim.fit_id))
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
        # Whether what waits is more than members of batches.
        self._alone = False

    def add(self, end: End) -> None:
        """Write the end soon."""
        self._waiting.append(end)
        self._alone = self._alone or end.claim.batch_id is None
        most = _HELD_BACK_SECONDS if self._alone else _HELD_BACK_IN_A_BATCH_SECONDS
        if time.monotonic() - self._since > most:
            self.write()

    def write(self) -> None:
        """Write what waits, and tell."""
        ends, self._waiting, self._since = self._waiting, [], time.monotonic()
        self._alone = False
        if not ends:
            return
        for end in ends:
            self._heartbeat.hush(end.claim)
        for end, done in zip(ends, lifecycle.finish(self._context, ends), strict=True):
            self._heartbeat.release(end.claim)
            log.info(
                "fit_ended" if done else "claim_lost",
                **end.claim.named,
                stop_reason=end.stop_reason,
            )
            if not done:
                forget_attempt(self._context, end.claim.fit_id, end.claim.fence)


def _run(
    context: Context,
    claim: Claim,
    heartbeat: Heartbeat,
    data: OpenedData,
    done: Computed | None,
) -> End | None:
    """The claim's end; None where it is lost, or goes on elsewhere."""
    try:
        if done is not None and not heartbeat.lost(claim):
            return _end(context, claim, FitRun.done(claim, done), done.data_seconds)
        return _compute(context, claim, heartbeat, data)
    except SpecificationError as error:
        return _failure(claim, "invalid_spec", "user", str(error))
    except Exception as error:
        # The outermost edge: the fit must end, and the operator must see why.
        log.exception("fit_crashed")
        if lacks_memory(error):
            # Another attempt would need as much.
            past = context.settings.max_fit_bytes if isinstance(error, TooMuchMemory) else None
            return End(claim, "failed", "error", None, explain_lack(past))
        if isinstance(error, _FOR_NOW) and _put_off(context, claim, heartbeat):
            return None
        return _failure(claim, "internal_error", "server", "the service failed; its log says why")


def _put_off(context: Context, claim: Claim, heartbeat: Heartbeat) -> bool:
    """Let the fit be computed later; False where it has had its attempts."""
    if store_is_away(context):
        # However long that lasts, it costs no attempt.
        _give_back(context, claim, heartbeat)
        return True
    if claim.attempt >= context.settings.max_attempts:
        return False
    # Its lease runs out, which gives what has failed time to be mended.
    heartbeat.release(claim)
    return True


def _give_back(context: Context, claim: Claim, heartbeat: Heartbeat) -> None:
    heartbeat.release(claim)
    lifecycle.requeue(context, claim)


def _compute(context: Context, claim: Claim, heartbeat: Heartbeat, data: OpenedData) -> End | None:
    bound = MemoryBound(context.settings.max_fit_bytes)
    began = time.perf_counter()
    loaded = data.of(claim)
    data_seconds = time.perf_counter() - began
    run = RUNS[claim.kind].of(context, claim, loaded, Watch(heartbeat, claim, bound))
    if heartbeat.lost(claim):
        log.warning("claim_lost")
        return None
    if run.interrupted and not heartbeat.cancelled(claim):
        _give_back(context, claim, heartbeat)
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
