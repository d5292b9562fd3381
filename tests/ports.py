"""Ports that nobody has just now."""

import socket
from contextlib import ExitStack


def free_ports(n: int) -> list[int]:
    """So many different ones of loopback."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [int(listener.getsockname()[1]) for listener in listeners]
