"""Other managers of a server's home: an OBShell daemon, a systemd unit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def obshell_of(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that counts as an OBShell daemon, and check that nothing ends it."""
    program = home / "bin" / "obshell"
    shutil.copy(Path("/bin/sh").resolve(), program)
    with subprocess.Popen([str(program), "-c", "read -r word"], stdin=subprocess.PIPE) as process:
        yield process
        assert process.poll() is None, "it was ended"


@contextmanager
def unit_of(directory: Path, line: str) -> Iterator[Path]:
    """A unit with that line, and the link by which systemd starts it at boot.

    Args:
        directory: where systemd keeps its units.
        line: of the section Service.
    """
    unit = directory / "database.service"
    link = directory / "multi-user.target.wants" / unit.name
    link.parent.mkdir(parents=True)
    unit.write_text(f"[Unit]\nDescription=a database\n[Service]\n{line}\n")
    link.symlink_to(Path("..", unit.name))
    yield unit
    link.unlink()
    link.parent.rmdir()
    unit.unlink()
