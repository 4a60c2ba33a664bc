"""The key of controllers in tests: making one for each would take a large part of their time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from dagengine.runtime.new_file import create_file
from dagengine.security.server_key import load_or_create_key


def plant_key(path: Path) -> None:
    """Write the key of this process to a key file, unless it exists."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_file(path, _pem())


@cache
def _pem() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "key.pem"
        load_or_create_key(path).close()
        return path.read_bytes()
