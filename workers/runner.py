"""One claim end to end: load, compute, record, finish."""

import os
import socket
import time
from collections.abc import Mapping

import numpy as np
import structlog

from service import lifecycle
from service.artifacts import store_arrays
from service.context import Context
from service.lifecycle import Claim
from workers import engine
from workers.draining import draining
from workers.engine import SpecificationError
from workers.fit_run import FitRun
from workers.heartbeat import Heartbeat
from workers.inputs import opened_data
from workers.lr_range_run import LrRangeRun
from workers.metrics import RegressionMetrics
from workers.runs import Watch

log = structlog.get_logger(__name__)

WORKER = f"{socket.gethostname()}-{os.getpid()}"

Run = FitRun | LrRangeRun
# One entry a kind of job.
RUNS: Mapping[str, type[Run]] = {"fit": FitRun, "lr_range_test": LrRangeRun}


def warm_up() -> None:
    """Load and compile all that a first fit would otherwise wait for."""
    engine.warm_up()
    RegressionMetrics().add(np.zeros((2, 1)), np.ones((2, 1)))


def run_fit(context: Context, fit_id: str) -> None:
    """Claim the fit and see it to its end; nothing happens where it no longer waits."""
    if draining():
        context.queue.fit(fit_id)
        return
    claim = lifecycle.claim(context, fit_id, WORKER)
    if claim is None:
        return
    with structlog.contextvars.bound_contextvars(
        fit_id=fit_id, kind=claim.kind, attempt=claim.attempt, traceparent=claim.traceparent
    ):
        try:
            _compute(context, claim)
        except SpecificationError as error:
            _fail(context, claim, "invalid_spec", "user", str(error))
        except Exception:
            # The outermost edge: the fit must end, and the operator must see why.
            log.exception("fit_crashed")
            _fail(
                context, claim, "internal_error", "server", "the service failed; its log says why"
            )


def _compute(context: Context, claim: Claim) -> None:
    began = time.perf_counter()
    with opened_data(context, claim) as loaded:
        data_seconds = time.perf_counter() - began
        # The metrics of a large table take a while too.
        with Heartbeat(context, claim) as heartbeat:
            run = RUNS[claim.kind].of(context, claim, loaded, Watch(heartbeat))
            if heartbeat.lost:
                log.warning("claim_lost")
            elif run.interrupted and not heartbeat.cancelled:
                lifecycle.requeue(context, claim)
                log.info("fit_requeued", step=run.n_steps)
            else:
                _record(context, claim, run, data_seconds)


def _record(context: Context, claim: Claim, run: Run, data_seconds: float) -> None:
    """The artifacts first, the row last."""
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
    done = lifecycle.finish(
        context,
        claim,
        status=ending.status,
        stop_reason=ending.stop_reason,
        result=ending.result,
        error=ending.error,
        artifacts=rows,
    )
    log.info("fit_ended" if done else "claim_lost", stop_reason=ending.stop_reason)


def _fail(context: Context, claim: Claim, code: str, category: str, message: str) -> None:
    lifecycle.finish(
        context,
        claim,
        status="failed",
        stop_reason="error",
        result=None,
        error={"code": code, "category": category, "message": message},
    )
