"""The faults: one entry a kind, each with how often it is drawn."""

import math
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial

import redis

from service.checkpoints import CHECKPOINTS
from service.queue import BROKER_ERRORS, DELIVER, RUN_FITS, WEBHOOKS, connect_redis, make_celery
from service.settings import Settings
from service.storage import MissingObject, open_store
from tests.faults.parts import Part
from tests.faults.processes import signal_all
from tests.faults.running import Running

# Longer than the lease of two seconds.
FROZEN_SECONDS = (3.0, 6.0)
_AWAY_SECONDS = (1.0, 8.0)
_LONG_AWAY_SECONDS = (30.0, 31.0)
_LOCKED_SECONDS = (1.0, 6.0)
_FULL_SECONDS = (1.0, 4.0)
# Receivers of webhooks are told to take no message that is older than five minutes.
_JUMP_SECONDS = 60.0
_JUMPED_SECONDS = (0.5, 5.0)
_BALLAST_BYTES = 1 << 20


@dataclass
class Site:
    """What is hurt: a service, the draws that decide how, and what goes on meanwhile."""

    service: Running
    draws: random.Random
    # Whether the data directory is a small file system of its own.
    small_disk: bool = False
    # What of an installation can go away, by what becomes of it.
    parts: Mapping[str, Part] = field(default_factory=dict)
    meanwhile: list[threading.Thread] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The settings that the service has, as far as they say where everything is."""
        return self.service.settings

    def later(self, seconds: tuple[float, float], mend: Callable[[], object]) -> None:
        """Mend it after a drawn time, while other faults may come."""
        timer = threading.Timer(self.draws.uniform(*seconds), mend)
        timer.start()
        self.meanwhile.append(timer)

    def mend_all(self) -> None:
        """Wait until nothing is hurt any more."""
        for thread in self.meanwhile:
            thread.join()
        self.meanwhile.clear()


def kill(role: str, site: Site) -> bool:
    """SIGKILL one process of the role."""
    return _signal_one(site, role, signal.SIGKILL) is not None


def freeze(role: str, site: Site) -> bool:
    """SIGSTOP one process of the role for longer than the lease."""
    pid = _signal_one(site, role, signal.SIGSTOP)
    if pid is None:
        return False
    site.later(FROZEN_SECONDS, partial(signal_all, [pid], signal.SIGCONT))
    return True


def terminate_api_worker(site: Site) -> bool:
    """SIGTERM to one process that answers; gunicorn starts another one."""
    return _signal_one(site, "API worker", signal.SIGTERM) is not None


def restart_api_workers(site: Site) -> bool:
    """SIGHUP to gunicorn: every process that answers is replaced."""
    return _signal_one(site, "API", signal.SIGHUP) is not None


def kill_launcher(site: Site) -> bool:
    """SIGKILL the launcher, and start another one on what it left."""
    site.mend_all()
    site.service.kill()
    site.service.start()
    return True


def restart(site: Site) -> bool:
    """Stop the service as an operator does, and start it again."""
    site.mend_all()
    code, left = site.service.stop()
    assert code == 0, f"the launcher ended with {code}; see {site.service.log}"
    assert not left, f"after a stop there was left {left}"
    site.service.start()
    return True


def flush_redis(site: Site) -> bool:
    """FLUSHALL."""
    with suppress(redis.RedisError), closing(connect_redis(site.settings)) as client:
        return bool(client.flushall())
    return False


def take_redis_away(seconds: tuple[float, float], site: Site) -> bool:
    """Keep redis from coming back for so long: whatever is started is killed."""
    until = time.monotonic() + site.draws.uniform(*seconds)
    while time.monotonic() < until:
        signal_all(site.service.pids("redis"), signal.SIGKILL)
        time.sleep(0.1)
    return True


def lock_database(site: Site) -> bool:
    """Hold SQLite's one write lock for some seconds."""
    path = site.settings.database_file
    if path is None:
        return False
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        time.sleep(site.draws.uniform(*_LOCKED_SECONDS))
        connection.execute("ROLLBACK")
    return True


def fill_disk(site: Site) -> bool:
    """Leave no byte free below the data directory for some seconds."""
    if not site.small_disk:
        return False
    ballast = site.service.data_dir / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(bytes(_BALLAST_BYTES)):
                continue
    except OSError:
        # That is all there was.
        time.sleep(site.draws.uniform(*_FULL_SECONDS))
    ballast.unlink()
    return True


def truncate_checkpoint(site: Site) -> bool:
    """Cut a checkpoint in half, if there is one just now."""
    store = open_store(site.settings)
    found = [*store.keys_below(CHECKPOINTS, math.inf)]
    if not found:
        return False
    key = site.draws.choice(found)
    with suppress(MissingObject):
        whole = store.get(key)
        store.put(key, whole[: len(whole) // 2])
    return True


def turn_clock(site: Site) -> bool:
    """Have the clock jump by a minute at most, and later jump back."""
    site.service.turn_clock(site.draws.uniform(-_JUMP_SECONDS, _JUMP_SECONDS))
    time.sleep(site.draws.uniform(*_JUMPED_SECONDS))
    site.service.turn_clock(0.0)
    return True


def take_away(name: str, site: Site) -> bool:
    """Have a part of the installation go away for some seconds."""
    if name not in site.parts:
        return False
    site.parts[name].leave()
    time.sleep(site.draws.uniform(*_AWAY_SECONDS))
    site.parts[name].come_back()
    return True


def send_stray_wake_ups(site: Site) -> bool:
    """Send wake-ups that nobody owes, twice and in any order."""
    queues = ["fits.cpu", "fits.small", WEBHOOKS] * 2
    site.draws.shuffle(queues)
    celery = make_celery(site.settings)
    try:
        for queue in queues:
            name, arguments = (DELIVER, ()) if queue == WEBHOOKS else (RUN_FITS, (queue,))
            celery.send_task(name, args=arguments, queue=queue)
    except BROKER_ERRORS:
        return False
    finally:
        celery.close()
    return True


def add_worker(site: Site) -> bool:
    """Have another worker sweep and compute for some seconds, then stop or kill it."""
    environment = site.service.environment
    with site.service.log.open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "worker", "--concurrency", "1"],
            stdout=log,
            stderr=log,
            env=environment,
        )

    def end() -> None:
        worker.send_signal(ending)
        worker.wait(60)

    ending = site.draws.choice([signal.SIGTERM, signal.SIGKILL])
    site.later((6.0, 14.0), end)
    return True


def _signal_one(site: Site, role: str, number: int) -> int | None:
    """The process that got the signal; None where there is none of the role just now."""
    found = site.service.pids(role)
    if not found:
        return None
    pid = site.draws.choice(found)
    return pid if signal_all([pid], number) else None


_OFTEN, _SOMETIMES, _SELDOM = 6, 3, 1

# Each fault with its weight; it answers whether it found something to hurt.
FAULTS: Mapping[str, tuple[int, Callable[[Site], bool]]] = {
    "kill the worker's child": (_OFTEN, partial(kill, "worker's child")),
    "kill the quick worker's child": (_SOMETIMES, partial(kill, "quick worker's child")),
    "kill the worker": (_SOMETIMES, partial(kill, "worker")),
    "kill the quick worker": (_SELDOM, partial(kill, "quick worker")),
    "kill an API worker": (_SOMETIMES, partial(kill, "API worker")),
    "kill gunicorn": (_SELDOM, partial(kill, "API")),
    "kill redis": (_SOMETIMES, partial(kill, "redis")),
    "kill the launcher": (_SELDOM, kill_launcher),
    "freeze the worker's child": (_OFTEN, partial(freeze, "worker's child")),
    "freeze the quick worker's child": (_SOMETIMES, partial(freeze, "quick worker's child")),
    "freeze the worker": (_SOMETIMES, partial(freeze, "worker")),
    "freeze the quick worker": (_SELDOM, partial(freeze, "quick worker")),
    "freeze an API worker": (_SELDOM, partial(freeze, "API worker")),
    "freeze gunicorn": (_SELDOM, partial(freeze, "API")),
    "freeze redis": (_SOMETIMES, partial(freeze, "redis")),
    "freeze the launcher": (_SELDOM, partial(freeze, "launcher")),
    "terminate an API worker": (_SOMETIMES, terminate_api_worker),
    "restart the API workers": (_SELDOM, restart_api_workers),
    "restart the service": (_SELDOM, restart),
    "FLUSHALL": (_SOMETIMES, flush_redis),
    "redis away": (_SELDOM, partial(take_redis_away, _AWAY_SECONDS)),
    "redis away for half a minute": (_SELDOM, partial(take_redis_away, _LONG_AWAY_SECONDS)),
    "clock jumps": (_SOMETIMES, turn_clock),
    "database locked": (_SOMETIMES, lock_database),
    "disk full": (_SOMETIMES, fill_disk),
    **{
        name: (_SOMETIMES, partial(take_away, name))
        for name in ("PostgreSQL crashes", "bucket closed", "bucket failing", "bucket silent")
    },
    "checkpoint truncated": (_SOMETIMES, truncate_checkpoint),
    "stray wake-ups": (_SOMETIMES, send_stray_wake_ups),
    "another worker": (_SELDOM, add_worker),
}
