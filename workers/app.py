"""The Celery worker's composition root: what its processes do when they start and stop.

The main process takes messages, sweeps and announces; it never computes and never imports
torch. Its children, fresh interpreters, load the engine and its kernels before their first fit.
"""

import os
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

from celery import signals
from celery.worker import state

from service.context import Context, open_context
from service.metrics import serve_metrics
from service.processes import end_with
from service.queue import make_celery
from service.settings import Settings
from service.telemetry import configure_logging
from workers import draining, pool
from workers.allocation import ONE_HEAP
from workers.keeper import Keeper
from workers.memory_kills import RecentKills
from workers.stalls import Stalls

settings = Settings()
app = make_celery(settings)
app.conf.imports = ("workers.tasks",)


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging(settings)


@signals.worker_init.connect
def _prepare_environment(**_: Any) -> None:
    """In the main process: say what its children are to be started with."""
    for name, value in ONE_HEAP.items():
        os.environ.setdefault(name, value)


@signals.worker_ready.connect
def _serve(sender: Any, **_: Any) -> None:
    """In the main process: keep house until the worker stops."""
    context = open_context(settings)
    stalls = Stalls(
        context,
        queues=[*app.amqp.queues.consume_from],
        taken=lambda: int(state.all_total_count[0]),
        stop=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    worker = worker_name(os.getpid())
    keeper = Keeper(
        context,
        worker,
        children=lambda: _names(pool.pids(sender)),
        ready=lambda: _names(pool.ready_pids(sender)),
        stalls=stalls,
        memory_kills=RecentKills(),
    )
    keeper.start()
    stop_metrics = serve_metrics(settings.worker_metrics_port)

    @signals.worker_shutting_down.connect(weak=False)
    def _drain(**_: Any) -> None:
        for pid in pool.pids(sender):
            # One that has just died is no reason to leave the others at work.
            with suppress(ProcessLookupError):
                os.kill(pid, draining.DRAIN_SIGNAL)

    @signals.worker_shutdown.connect(weak=False)
    def _stop(**_: Any) -> None:
        keeper.stop()
        stop_metrics()
        context.close()


@signals.worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    """In a pool child: be ready to compute before the first message comes."""
    draining.listen()
    end_with(os.getppid())
    # While other processes compute, a thread that spins for the next part of a step keeps the one
    # that it waits for from its core. libgomp reads this when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Not at the top: the main process must not load torch, nor wait for its kernels.
    from workers.engine import hold_one_blas_thread  # noqa: PLC0415
    from workers.runner import warm_up  # noqa: PLC0415

    hold_one_blas_thread()
    warm_up()


@cache
def child_context() -> Context:
    """The pool child's hold on the service, opened at its first use."""
    return open_context(settings)


@cache
def child_courier() -> Any:
    """The pool child's courier: a thread of it delivers beside other work."""
    from workers.delivering import Courier  # noqa: PLC0415

    return Courier(child_context())


def _names(pids: Iterable[int]) -> list[str]:
    return [worker_name(pid) for pid in pids]


def worker_name(pid: int) -> str:
    """The name under which a worker's process announces itself, and a child of it holds leases."""
    return f"{socket.gethostname()}-{pid}"
