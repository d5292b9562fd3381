"""A receiver, and a service that sends to it."""

from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests.receiver import Receiver, receiving
from tests.workers.webhooks.owed import sending


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where messages go."""
    with receiving() as started:
        yield started


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that send messages, to this machine too."""
    return sending(settings)
