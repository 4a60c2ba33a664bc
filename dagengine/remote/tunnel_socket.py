"""Paths for the local ends of tunnels."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_LONGEST_PATH_BYTES = 100
"""A unix socket's path must fit into 108 bytes. Source: unix(7), sun_path."""


_PREFIX = "dagengine-"
_OWNED = re.compile(rf"{_PREFIX}([0-9]+)-.*")


@contextmanager
def private_socket_path() -> Iterator[Path]:
    """Yield a path for a unix socket in a private temporary directory (mode 0700).

    The directory is removed afterwards. The first call of each process also removes the directories
    that killed processes left behind.
    """
    usual = len(tempfile.gettempdir().encode()) + len(f"/{_PREFIX}9999999-xxxxxxxx/tunnel")
    place = tempfile.gettempdir() if usual < _LONGEST_PATH_BYTES else "/tmp"  # noqa: S108  # mkdtemp is safe there
    _sweep(place, os.getpid())
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as directory:
        yield Path(directory, "tunnel")


@cache
def _sweep(place: str, _pid: int) -> None:
    """Remove dagengine's directories whose process no longer exists."""
    for directory in Path(place).glob(f"{_PREFIX}*"):
        match = _OWNED.fullmatch(directory.name)
        if match is not None and not Path(f"/proc/{match[1]}").exists():
            # Errors are ignored: directories of other users cannot be removed.
            shutil.rmtree(directory, ignore_errors=True)
