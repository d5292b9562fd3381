"""The socket that the API answers on, opened by the launcher and handed to gunicorn.

The launcher keeps it open: where the API dies, clients wait until it is back instead of being
refused, and the port cannot be lost to another program meanwhile.
"""

import ipaddress
import socket
from collections.abc import Callable

from service.errors import StartFailed

_BACKLOG = 2048


def open_listener(
    host: str, port: int, is_guarded: Callable[[], bool] = lambda: False
) -> socket.socket:
    """Listen on an address: loopback, unless keys guard the service; port 0 takes a free one.

    Raises StartFailed where the host is unknown or not allowed, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise StartFailed(f"unknown host {host!r}: {error.strerror}") from error
    if not (is_loopback(str(address[0])) or is_guarded()):
        raise StartFailed(refusal(host))
    try:
        # An IPv6 address has four parts, and its type allows for a build without IPv6.
        return socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise StartFailed(f"cannot serve on {host}, port {port}: {error.strerror}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address; a name other than localhost counts as none."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refusal(host: str) -> str:
    """Why an open service does not serve there."""
    return (
        f"cannot serve on {host}: no key configured: "
        "the service runs open and binds to loopback only; see thalweg keys create"
    )


def url_of(listener: socket.socket) -> str:
    """The base URL that reaches the listener."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
