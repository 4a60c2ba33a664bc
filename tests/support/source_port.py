"""A port that is the source port of a connection, open or in TIME_WAIT."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tasks.demo.hosts import free_port


@contextmanager
def source_port(*, is_ended: bool = False) -> Iterator[int]:
    """Provide a port on which nothing listens and from which this process has a connection.

    Args:
        is_ended: leave the connection in TIME_WAIT.
    """
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as source:
        source.bind(("127.0.0.1", port))
        source.connect(server.getsockname())
        with closing(server.accept()[0]) as accepted:
            if is_ended:
                source.close()
                assert accepted.recv(1) == b""  # the peer closed first, so its port waits
                accepted.close()
            yield port
