"""What the use cases work with, opened once a process."""

from dataclasses import dataclass

from service.callers import NOBODY, Caller
from service.database import Database
from service.events import Events
from service.queue import WakeUps, connect_redis
from service.settings import Settings
from service.storage import ObjectStore, open_store


@dataclass(frozen=True)
class Context:
    """One process's hold on the parts of the service; safe to share between threads.

    In a request `caller` says on whose behalf.
    """

    settings: Settings
    database: Database
    storage: ObjectStore
    queue: WakeUps
    events: Events
    caller: Caller = NOBODY

    def close(self) -> None:
        """Give every connection back."""
        self.queue.close()
        self.events.close()
        self.database.close()


def open_context(settings: Settings) -> Context:
    """Open every part; nothing is sent yet, so that a missing part shows at its first use."""
    client = connect_redis(settings)
    return Context(
        settings=settings,
        database=Database(settings.database_address),
        storage=open_store(settings),
        queue=WakeUps(settings, client),
        events=Events(client),
    )
