"""The way to the workers: wake-ups by Celery, ids only, and who is there to hear them."""

from typing import Any

import kombu
import kombu.exceptions
import redis
from celery import Celery

from service.settings import Settings

FITS_CPU = "fits.cpu"
FITS_SMALL = "fits.small"
FITS_GPU = "fits.gpu"
ERRANDS = "errands"
WEBHOOKS = "webhooks"
# What a worker of long work takes, and what one that is always soon free again does. `fits.gpu` is
# taken by one process a CUDA device.
LONG_QUEUES = (FITS_CPU, FITS_SMALL)
QUICK_QUEUES = (ERRANDS, FITS_SMALL, WEBHOOKS)
_QUEUES = (FITS_CPU, FITS_SMALL, FITS_GPU, ERRANDS, WEBHOOKS)
RUN_FITS = "thalweg.run_fits"
RUN_ERRAND = "thalweg.run_errand"
DELIVER = "thalweg.deliver"

# What redis-py and kombu raise where the broker does not answer.
BROKER_ERRORS = (redis.RedisError, kombu.exceptions.OperationalError)

WORKER_ALIVE_SECONDS = 15
_SENT_KEY = "thalweg:sent:"
# A wake-up is heard of sooner, but where it waits behind long work or its process has died: then
# others are sent for again.
_SENT_MILLISECONDS = 100
_WORKER_KEY = "thalweg:worker:"

# Of redis, but where an answer may take longer by design.
_SILENT_SECONDS = 5


def connect_redis(settings: Settings, *, max_connections: int = 256) -> redis.Redis:
    """A pool of connections to the redis in use; nothing is sent yet."""
    return redis.Redis.from_url(
        settings.redis_address,
        max_connections=max_connections,
        socket_connect_timeout=2,
        socket_timeout=_SILENT_SECONDS,
        health_check_interval=30,
    )


def make_celery(settings: Settings) -> Celery:
    """The Celery app, without any task's code: torch is not imported here.

    Messages are acknowledged before the work: what a dead worker held is found in the database,
    so that a second delivery by the broker would only be noise.
    """
    app = Celery("thalweg", broker=broker_url(settings.redis_address), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue=FITS_CPU,
        task_queues=[kombu.Queue(name) for name in _QUEUES],
        task_routes={RUN_ERRAND: {"queue": ERRANDS}, DELIVER: {"queue": WEBHOOKS}},
        task_create_missing_queues=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=300,
        # In KiB.
        worker_max_memory_per_child=settings.max_worker_bytes and settings.max_worker_bytes // 1024,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": 2, "health_check_interval": 30},
    )
    return app


def broker_url(redis_address: str) -> str:
    """The same redis in kombu's spelling."""
    if redis_address.startswith("unix://"):
        return "redis+socket://" + redis_address.removeprefix("unix://")
    return redis_address


class WakeUps:
    """Sends for workers; safe to share between threads.

    Every method raises redis' or kombu's connection errors where the broker does not answer.
    """

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._celery = make_celery(settings)
        self._redis = client

    def wake(self, queue: str) -> None:
        """Wake a worker for what waits in the queue of fits.

        One that nobody has begun to look for yet is enough: whoever does finds all that waits.
        """
        with self._redis.pipeline(transaction=False) as both:
            both.set(_SENT_KEY + queue, b"1", nx=True, px=_SENT_MILLISECONDS)
            both.llen(queue)
            is_first, undelivered = both.execute()
        if is_first and not undelivered:
            self.wake_again(queue)

    def wake_again(self, queue: str) -> None:
        """Wake one, whoever has been sent for: that wake-up is lost."""
        self._celery.send_task(RUN_FITS, args=(queue,), queue=queue)

    def heard(self, queue: str) -> None:
        """Note that a worker looks now for what waits: what comes later wakes another."""
        self._redis.delete(_SENT_KEY + queue)

    def errand(self, request: dict[str, Any]) -> None:
        """Wake a worker for what a request waits for."""
        # A redis that is frozen shows here: what sends waits for it as long as it takes.
        self._redis.ping()
        self._celery.send_task(RUN_ERRAND, kwargs=request, queue=ERRANDS)

    def deliver(self) -> None:
        """Wake a worker for the messages that are due, unless one has been sent for."""
        if not self.undelivered(WEBHOOKS):
            self._celery.send_task(DELIVER, queue=WEBHOOKS)

    def undelivered(self, queue: str) -> int:
        """Wake-ups of the queue that no worker has taken up yet."""
        return int(self._redis.llen(queue))

    def close(self) -> None:
        """Give the broker's connections back."""
        self._celery.close()


def announce_worker(client: redis.Redis, name: str) -> None:
    """Say that the worker of this name computes; holds for WORKER_ALIVE_SECONDS."""
    client.set(_WORKER_KEY + name, b"1", ex=WORKER_ALIVE_SECONDS)


def retire_worker(client: redis.Redis, name: str) -> None:
    """Take the announcement back."""
    client.delete(_WORKER_KEY + name)


def forget_workers(settings: Settings) -> None:
    """Take every announcement back: those in an embedded redis at its start are of the dead."""
    client = connect_redis(settings, max_connections=1)
    try:
        for key in client.scan_iter(match=_WORKER_KEY + "*", count=1000):
            client.delete(key)
    finally:
        client.close()


def ready_workers(settings: Settings, host: str | None = None) -> int:
    """How many workers have announced themselves lately: all, or those on the host alone."""
    client = connect_redis(settings, max_connections=1)
    try:
        names = [key.decode() for key in client.scan_iter(match=_WORKER_KEY + "*", count=1000)]
    finally:
        client.close()
    hosts = [name.removeprefix(_WORKER_KEY).rpartition("-")[0] for name in names]
    return len(hosts) if host is None else hosts.count(host)
