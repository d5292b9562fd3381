"""One claim end to end: load, fit, record, finish."""

import os
import socket
import time

import numpy as np
import structlog

from service import lifecycle
from service.artifacts import load_arrays, store_arrays
from service.context import Context
from service.lifecycle import Claim
from service.plots import plot_kinds
from service.starts import START, START_STATE
from workers import engine
from workers.draining import draining
from workers.engine import (
    Progress,
    Result,
    Snapshot,
    Specification,
    SpecificationError,
    Start,
    fit,
)
from workers.heartbeat import Heartbeat
from workers.inputs import Loaded, opened_data
from workers.metrics import RegressionMetrics
from workers.recording import describe_divergence, describe_result, kept_arrays, progress_of

log = structlog.get_logger(__name__)

WORKER = f"{socket.gethostname()}-{os.getpid()}"


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
        fit_id=fit_id, attempt=claim.attempt, traceparent=claim.traceparent
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
    spec = Specification.from_mapping(claim.spec)
    with opened_data(context, claim) as loaded:
        data_seconds = time.perf_counter() - began
        # The metrics of a large table take a while too.
        with Heartbeat(context, claim) as heartbeat:
            result = _fit(spec, loaded, _start(context, claim), heartbeat)
            if heartbeat.lost:
                log.warning("claim_lost")
            elif result.status == "interrupted" and not heartbeat.cancelled:
                lifecycle.requeue(context, claim)
                log.info("fit_requeued", step=result.n_steps)
            else:
                _record(context, claim, loaded, result, data_seconds)


def _start(context: Context, claim: Claim) -> Start | None:
    """What the other fit gave, where the fit starts from one."""
    init = claim.spec["init"]
    if "fit" not in init:
        return None
    snapshot = None
    if init["optimizer_state"]:
        snapshot = Snapshot.from_arrays(load_arrays(context, claim.fit_id, START_STATE))
    return Start(load_arrays(context, claim.fit_id, START), snapshot)


def _fit(spec: Specification, loaded: Loaded, start: Start | None, heartbeat: Heartbeat) -> Result:
    began = time.monotonic()

    def show(progress: Progress) -> None:
        heartbeat.progress = progress_of(progress, time.monotonic() - began)

    def should_stop() -> bool:
        return heartbeat.lost or heartbeat.cancelled or draining()

    return fit(
        spec,
        loaded.rows,
        held_out=loaded.held_out,
        start=start,
        on_progress=show,
        should_stop=should_stop,
    )


def _record(
    context: Context,
    claim: Claim,
    loaded: Loaded,
    result: Result,
    data_seconds: float,
) -> None:
    """The artifacts first, the row last."""
    began = time.perf_counter()
    rows = [
        store_arrays(context, claim.fit_id, claim.fence, name, arrays)
        for name, arrays in kept_arrays(claim.spec["record"], result).items()
    ]
    body = describe_result(claim, loaded, result)
    body["plots"] = plot_kinds(claim.spec, body, claim.columns)
    body["diagnostics"]["seconds"] = {
        "queued": claim.started_at - claim.created_at,
        "data": data_seconds,
        "compute": result.compute_seconds,
        "record": time.perf_counter() - began,
    }
    diverged = result.status == "diverged"
    # Only one that is being cancelled comes here interrupted.
    cancelled = result.status == "interrupted"
    stop_reason = "cancelled" if cancelled else result.status
    done = lifecycle.finish(
        context,
        claim,
        status="cancelled" if cancelled else "failed" if diverged else "succeeded",
        stop_reason=stop_reason,
        result=body,
        error=describe_divergence(result) if diverged else None,
        artifacts=rows,
    )
    log.info("fit_ended" if done else "claim_lost", stop_reason=stop_reason)


def _fail(context: Context, claim: Claim, code: str, category: str, message: str) -> None:
    lifecycle.finish(
        context,
        claim,
        status="failed",
        stop_reason="error",
        result=None,
        error={"code": code, "category": category, "message": message},
    )
