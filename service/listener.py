"""The socket that the API answers on, opened by the launcher and handed to gunicorn.

The launcher keeps it open: where the API dies, clients wait until it is back instead of being
refused, and the port cannot be lost to another program meanwhile.
"""

import ipaddress
import socket

from service.errors import StartFailed

_BACKLOG = 2048


def open_listener(host: str, port: int) -> socket.socket:
    """Listen on a loopback address; port 0 takes a free one.

    Raises StartFailed where the host is unknown or not loopback, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise StartFailed(f"unknown host {host!r}: {error.strerror}") from error
    if not ipaddress.ip_address(str(address[0])).is_loopback:
        raise StartFailed(
            f"cannot serve on {host}: no key configured: "
            "the service runs open and binds to loopback only"
        )
    try:
        # An IPv6 address has four parts, and its type allows for a build without IPv6.
        return socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise StartFailed(f"cannot serve on {host}, port {port}: {error.strerror}") from error


def url_of(listener: socket.socket) -> str:
    """The base URL that reaches the listener."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
