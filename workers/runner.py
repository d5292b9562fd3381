"""Claims end to end: load, compute, record, finish."""

import os
import socket
import time
from collections.abc import Mapping
from functools import partial

import structlog

from service import lifecycle
from service.artifacts import forget_attempt, store_arrays
from service.context import Context
from service.database import DatabaseError
from service.errors import Unavailable
from service.garbage import spare_what_is_loaded
from service.lifecycle import Claim, End
from service.waking import heard
from workers import engine
from workers.allocation import give_back
from workers.draining import draining
from workers.engine import Interrupted, SpecificationError, aside_if, looking
from workers.fit_run import FitRun
from workers.heartbeat import Heartbeat
from workers.inputs import OpenedData
from workers.lr_range_run import LrRangeRun
from workers.memory_bound import MemoryBound, TooMuchMemory, explain_lack, lacks_memory
from workers.outages import store_is_away, store_is_still_away
from workers.peak_memory import forget_peak
from workers.runs import Watch
from workers.taking import Moment, Take, everything
from workers.together import Computed, compute_together

log = structlog.get_logger(__name__)

# Waiters of short fits hear of them this soon; hardly anybody waits for one of a batch.
_HELD_BACK_SECONDS = 0.1
_HELD_BACK_IN_A_BATCH_SECONDS = 0.5

# A table of more numbers takes a while to read.
_MANY_NUMBERS = 2**20

# A worker that takes nothing for longer is taken for stalled: see `workers.stalls`.
_LEFT_SECONDS = 20.0
_LOOK_SECONDS = 0.2

WORKER = f"{socket.gethostname()}-{os.getpid()}"

# What says nothing about the fit: another attempt may go well.
_FOR_NOW = (OSError, DatabaseError, Unavailable)

Run = FitRun | LrRangeRun
# One entry a kind of job.
RUNS: Mapping[str, type[Run]] = {"fit": FitRun, "lr_range_test": LrRangeRun}


def warm_up() -> None:
    """Load and compile all that a first fit would otherwise wait for."""
    engine.warm_up()
    spare_what_is_loaded()


def run_waiting(context: Context, queue: str) -> None:
    """Claim what waits first in the queue, and see it to its end."""
    heard(context, queue)
    if draining() or store_is_still_away(context):
        # What waits is found by whoever starts next, or sent again by the sweeper.
        return
    claims = lifecycle.claim_waiting(context, queue, WORKER)
    if not claims:
        return
    forget_peak()
    with Heartbeat(context, claims) as heartbeat, OpenedData(context) as data:
        ends = _Ends(context, heartbeat)
        done = compute_together(claims, data, context.settings.max_fit_bytes)
        for claim in claims:
            if engine.are_others_left():
                ends.write()
                _wait_for_others()
            with structlog.contextvars.bound_contextvars(**claim.named):
                end = _run(context, claim, heartbeat, data, done.get(claim.fit_id))
            if end is not None:
                ends.add(end)
        try:
            ends.write()
        finally:
            # They may still read what is closed now.
            _wait_for_others()


def _wait_for_others() -> None:
    """Wait for threads that a cancelled fit has left; a process of them alone is ended."""
    until = time.monotonic() + _LEFT_SECONDS
    while not engine.wait_for_others(_LOOK_SECONDS):
        if draining():
            return
        if time.monotonic() > until:
            log.error("thread_left_alone_goes_on", seconds=_LEFT_SECONDS)
            # No thread can be ended, and Celery starts another process.
            os._exit(1)


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
            # It is small, takes no more memory, and is told of in less time than between two looks.
            return _record(context, FitRun.done(claim, done), done.data_seconds, everything)
        watch = Watch(heartbeat, claim, MemoryBound(context.settings.max_fit_bytes))
        return _compute(context, claim, watch, data)
    except SpecificationError as error:
        return _failure(claim, "invalid_spec", "user", str(error))
    except Exception as error:
        # The outermost edge: the fit must end, and the operator must see why.
        log.exception("fit_crashed")
        if lacks_memory(error):
            # Another attempt would need as much.
            past = context.settings.max_fit_bytes if isinstance(error, TooMuchMemory) else None
            # Else a thread that was left while it stored something would do so after this.
            engine.wait_for_others(_LEFT_SECONDS)
            forget_attempt(context, claim.fit_id, claim.fence)
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


def _compute(context: Context, claim: Claim, watch: Watch, data: OpenedData) -> End | None:
    heartbeat = watch.heartbeat
    began = time.perf_counter()
    try:
        with looking(watch.look):
            loaded = aside_if(_is_much(claim), partial(data.of, claim))
        data_seconds = time.perf_counter() - began
        run = RUNS[claim.kind].of(context, claim, loaded, watch)
    except Interrupted:
        # Before its first step: there is nothing to keep of it.
        if heartbeat.cancelled(claim):
            return End(claim, "cancelled", "cancelled", None)
        run = None
    if heartbeat.lost(claim):
        log.warning("claim_lost")
        return None
    if run is None or (run.interrupted and not heartbeat.cancelled(claim)):
        _give_back(context, claim, heartbeat)
        log.info("fit_requeued", step=0 if run is None else run.n_steps)
        return None
    return _end(context, run, watch, data_seconds)


def _is_much(claim: Claim) -> bool:
    """Whether the claim's rows take long to read."""
    n_rows = claim.n_rows + (claim.validation.n_rows if claim.validation is not None else 0)
    return n_rows * len(claim.columns) > _MANY_NUMBERS


def _end(context: Context, run: Run, watch: Watch, data_seconds: float) -> End | None:
    """What is measured of a large table takes a while too; None where the claim is lost then."""

    def record(take: Take) -> End:
        end = _record(context, run, data_seconds, take)
        watch.check_memory()
        return end

    if run.takes_long:
        # What its steps took is free, and what follows takes memory of its own.
        give_back()
    if not run.interrupted:
        try:
            with looking(watch.look_at_the_end):
                return aside_if(run.takes_long, partial(record, everything))
        except Interrupted:
            if watch.heartbeat.lost(run.claim):
                log.warning("claim_lost")
                return None
    # It was cancelled.
    with looking(watch.look_at_memory):
        return record(Moment(watch.look_at_memory))


def _record(context: Context, run: Run, data_seconds: float, take: Take) -> End:
    """The artifacts are stored first; the row is written last."""
    began, claim = time.perf_counter(), run.claim
    ending = run.ending(take)
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
