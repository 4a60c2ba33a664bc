"""Addresses: `host:port` with brackets around an IPv6 address, and names of unix sockets.

Two other notations of host and port are in the modules that need them: the names of hosts in a
known_hosts file (`remote/ssh/known_hosts.py`) and the addresses of a request, which are read as
OBShell reads them (`tasks/cluster/scope.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagengine.runtime import messages

LONGEST_SOCKET_BYTES = 107
"""Longest path of a unix socket. Source: unix(7), sun_path."""


def render_host_port(host: str, port: int) -> str:
    """Render `host:port`, or `[ip]:port` for an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_host_port(text: str) -> tuple[str, int]:
    """Parse `host:port` or `[ip]:port`; the range of the port is not checked.

    Raises:
        ValueError: the text has no port, or an IPv6 address has no brackets.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(messages.NOT_ADDRESS())
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(messages.IPV6_WITHOUT_BRACKETS())
    return host, int(port)


def open_short_name(path: Path) -> tuple[str, int | None]:
    """Return a name by which the kernel accepts the path of a socket.

    Returns:
        The name, and the descriptor of the socket's directory, which must stay open while the name
        is used; None if the path itself is short enough.

    Raises:
        OSError: the directory cannot be opened.
    """
    if len(os.fsencode(path)) <= LONGEST_SOCKET_BYTES:
        return str(path), None
    directory = os.open(path.parent, getattr(os, "O_PATH", 0) | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{directory}/{path.name}", directory


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Yield a name by which the kernel accepts the path of a socket; raises OSError."""
    name, directory = open_short_name(path)
    try:
        yield name
    finally:
        if directory is not None:
            os.close(directory)
