"""The housekeeping of a worker's main process."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from service import fits, lifecycle
from service.context import Context
from service.database import schema
from service.queue import announce_worker, ready_workers
from service.schemas.datasets import DatasetRequest
from tests.eventually import eventually
from tests.installations import ON_EACH
from tests.service.claiming import FIT_QUEUES
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import ALONE, submit
from workers import stalls
from workers.keeper import Keeper
from workers.memory_kills import RecentKills
from workers.stalls import Stalls

pytestmark = ON_EACH


class Pool:
    """The names of the children that are alive, and of those that can compute.

    It counts how often each was asked for.
    """

    def __init__(self) -> None:
        self.alive = ["host-1", "host-2"]
        self.able: list[str] = []
        self.n_asked_alive = 0
        self.n_asked_able = 0
        self.n_memory_kills = 0

    def children(self) -> list[str]:
        self.n_asked_alive += 1
        return [*self.alive]

    def ready(self) -> list[str]:
        self.n_asked_able += 1
        return [*self.able]

    def wait_until_announced(self) -> None:
        """Until whatever the keeper has to announce now is announced."""
        before = self.n_asked_able
        # One answer may be on its way already, and the next one is announced before the last.
        eventually(lambda: self.n_asked_able > before + 2, 10)


@pytest.fixture
def quick(context: Context) -> Context:
    """The same service, whose keepers hurry."""
    settings = context.settings.model_copy(update={"sweep_seconds": 0.05})
    return Context(settings, context.database, context.storage, context.queue, context.events)


class Consumer:
    """How many messages a worker has taken, and whether it was stopped."""

    def __init__(self) -> None:
        self.n_taken = 0
        self.n_stops = 0

    def stop(self) -> None:
        self.n_stops += 1

    def stalls(self, context: Context) -> Stalls:
        return Stalls(context, FIT_QUEUES, taken=lambda: self.n_taken, stop=self.stop)


@pytest.fixture
def pool(quick: Context) -> Iterator[Pool]:
    children = Pool()
    keeper = Keeper(
        quick,
        "host-0",
        children=children.children,
        ready=children.ready,
        stalls=Consumer().stalls(quick),
        memory_kills=RecentKills(lambda: children.n_memory_kills),
    )
    keeper.start()
    yield children
    keeper.stop()


def test_what_a_child_held_that_is_gone_is_taken_back_at_once(
    quick: Context, pool: Pool, table: DatasetRequest
) -> None:
    # given two children at work
    held, others = (submit(quick, table, **ALONE)["id"] for _ in range(2))
    for name in pool.alive:
        assert any(lifecycle.claim_waiting(quick, queue, name) for queue in FIT_QUEUES)
    # The second time that a round asks for them, they are known.
    eventually(lambda: pool.n_asked_alive > 1, 10)

    # when one dies and another one takes its place
    pool.alive = ["host-2", "host-3"]

    # then its fit waits again long before its lease is over, and only its fit
    eventually(
        lambda: fits.get_fit(quick, held, OWNER)["status"] == "queued",
        quick.settings.lease_seconds / 2,
    )
    assert fits.get_fit(quick, held, OWNER)["attempt"] == 2
    assert fits.get_fit(quick, others, OWNER)["status"] == "running"


@pytest.mark.parametrize(("n_kills", "code"), [(0, "worker_lost"), (1, "out_of_memory")])
def test_what_the_kernel_killed_for_want_of_memory_is_told_apart(
    quick: Context, pool: Pool, table: DatasetRequest, n_kills: int, code: str
) -> None:
    # given a fit on its last attempt
    held = submit(quick, table, **ALONE)["id"]
    with quick.database.write() as connection:
        connection.execute(update(schema.fits).values(attempt=quick.settings.max_attempts))
    assert any(lifecycle.claim_waiting(quick, queue, "host-1") for queue in FIT_QUEUES)
    # The second time that a round asks for them, they are known.
    eventually(lambda: pool.n_asked_alive > 1, 10)

    # when its child dies
    pool.n_memory_kills += n_kills
    pool.alive = ["host-2"]

    # then its error is the kernel's reason, where there was one
    eventually(lambda: fits.get_fit(quick, held, OWNER)["status"] == "failed", 10)
    assert fits.get_fit(quick, held, OWNER)["error"]["code"] == code


def test_a_worker_is_announced_while_a_child_can_compute(quick: Context, pool: Pool) -> None:
    # given one whose children are still preparing, and a redis that forgets
    pool.wait_until_announced()
    assert ready_workers(quick.settings) == 0

    pool.able = ["host-2"]
    eventually(lambda: ready_workers(quick.settings) == 1, 10)
    quick.events.client.flushall()
    eventually(lambda: ready_workers(quick.settings) == 1, 10)

    # when none can any more
    pool.able = []
    pool.wait_until_announced()
    quick.events.client.flushall()
    pool.wait_until_announced()

    # then it says so no more
    assert ready_workers(quick.settings) == 0


def test_a_host_is_asked_for_its_own_workers_alone(quick: Context, pool: Pool) -> None:
    # given a worker on the host of this name
    pool.able = ["host-2"]
    eventually(lambda: ready_workers(quick.settings, "host") == 1, 10)

    # then no other host has it, not one whose name it begins with
    announce_worker(quick.events.client, "host-1-7")
    assert ready_workers(quick.settings, "host") == 1
    assert ready_workers(quick.settings, "host-1") == 1
    assert ready_workers(quick.settings, "hos") == 0
    assert ready_workers(quick.settings, "other") == 0


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    """One that has no time to lose."""
    monkeypatch.setattr(stalls, "_STALLED_SECONDS", 0.0)
    return Consumer()


def test_a_worker_that_takes_nothing_of_what_waits_is_stopped(
    context: Context, table: DatasetRequest, consumer: Consumer
) -> None:
    watch = consumer.stalls(context)

    # Nothing waits, then something is taken, then nothing more.
    watch.look(["host-1"])
    submit(context, table, **ALONE)
    consumer.n_taken = 1
    watch.look(["host-1"])
    assert consumer.n_stops == 0
    watch.look(["host-1"])
    assert consumer.n_stops == 1


def test_what_waits_for_children_that_are_not_ready_is_no_stall(
    context: Context, table: DatasetRequest, consumer: Consumer
) -> None:
    watch = consumer.stalls(context)
    submit(context, table, **ALONE)

    for _ in range(3):
        watch.look(["host-1"], any_ready=False)
    assert consumer.n_stops == 0
    watch.look(["host-1"])
    assert consumer.n_stops == 1


def test_a_worker_whose_child_has_a_fit_may_take_its_time(
    context: Context, table: DatasetRequest, consumer: Consumer
) -> None:
    watch = consumer.stalls(context)
    submit(context, table, **ALONE)
    assert any(lifecycle.claim_waiting(context, queue, "host-1") for queue in FIT_QUEUES)
    submit(context, table, **ALONE)

    watch.look(["host-1"])
    watch.look(["host-1"])
    assert consumer.n_stops == 0
    watch.look(["host-2"])
    assert consumer.n_stops == 1
