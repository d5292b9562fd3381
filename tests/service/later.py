"""What happens while a test waits for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def later(seconds: float, act: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Act so much later, on a thread of its own, which has ended when the block is left."""
    timer = threading.Timer(seconds, act, arguments)
    timer.start()
    yield
    timer.join()
