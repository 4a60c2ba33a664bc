"""The process that listens on a TCP port of this machine, as far as this user may see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"  # Source: proc_net_tcp(5) and net/tcp_states.h
_PROGRAM_WORDS = 4
"""Words of a command line that a message shows."""


@dataclass(frozen=True, slots=True)
class PortHolder:
    """A process that listens on a port.

    Attributes:
        pid: its id.
        program: the first words of its command line.
    """

    pid: int
    program: str


def find_port_holder(port: int) -> PortHolder | None:
    """Return a process that listens on the port; None if there is none that this user may see."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    for directory in _PROC.glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in sockets for fd in (directory / "fd").iterdir()):
                words = (directory / "cmdline").read_text(errors="replace").split("\0")
                program = " ".join(Path(words[0]).name.split() + words[1:_PROGRAM_WORDS])
                return PortHolder(int(directory.name), program.strip())
        except OSError:  # of another user, or it has just ended
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENING:
                inodes.add(fields[9])
    return inodes
