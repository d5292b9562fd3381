"""The peer of the service's latency: a bare Celery app whose one task does nothing."""

import os

from celery import Celery

# A database of its own inside the same redis, so that both share one broker.
app = Celery("noop", broker=os.environ["NOOP_BROKER"], backend=os.environ["NOOP_BACKEND"])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


@app.task
def noop() -> None:
    """Return at once."""
