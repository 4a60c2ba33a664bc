"""Where the local end of a tunnel lies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_PATH_BYTES = 100
"""A unix socket's path must fit into 108 bytes. Source: unix(7), sun_path."""


@contextmanager
def private_socket_path() -> Iterator[Path]:
    """A path for a unix socket in a directory of its own (mode 0700), removed afterwards."""
    usual = len(tempfile.gettempdir().encode()) + len("/dagengine-xxxxxxxx/tunnel")
    place = None if usual < _LONGEST_PATH_BYTES else "/tmp"  # noqa: S108  # mkdtemp is safe there
    with tempfile.TemporaryDirectory(prefix="dagengine-", dir=place) as directory:
        yield Path(directory, "tunnel")
