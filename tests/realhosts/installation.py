"""The server program on a host, in its home, and the user that runs it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.demo.cluster import find_seekdb
from tests.support.standin.cluster import ROOT, install
from tests.support.standin.cluster_state import Member
from tests.support.standin.sql import write_config

USER_HOME = "/home/admin"
SQL_PORT, RPC_PORT = 2881, 2882
_LEDGER = "ledger.sqlite"

# Replaces the server program: counts its starts, and waits at the barrier `launch`. Its interpreter
# is the executable of the process, so it has the name of the server.
_PROGRAM = """\
#!/home/control/seekdb
case "$*" in
    *--base-dir*)
        echo "$$" >>/home/control/launches
        barrier=/home/control/launch
        if [ -p "$barrier" ]; then : >"$barrier.reached"; read -r _ <"$barrier"; fi ;;
esac
exec /home/package/seekdb "$@"
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """One kind of server.

    Attributes:
        flavour: as in the cluster file.
        program: file name of the program, below `bin` of the home.
        user, uid: the user that logs in and runs the server.
        settings: entries for every server in the cluster file.
    """

    flavour: str
    program: str
    user: str
    uid: int
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """Return the server's home on its host."""
        return f"{USER_HOME}/{self.program}"

    @property
    def user_line(self) -> str:
        """Return the user's line in the host's passwd file."""
        return f"{self.user}:x:{self.uid}:{self.uid}::{USER_HOME}:/bin/sh\n"

    def sources(self, cluster_directory: Path) -> Mapping[str, Path]:
        """Return the directories of this machine that the host sees, by mount point."""
        if self.flavour == "seekdb":
            return {"/home/package": find_seekdb().parent}
        shared = {str(path): path for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix))}
        return {"/home/ledger": cluster_directory / "ledger", **shared}

    def put(self, home: Path, control: Path, ip: str, zone: str) -> None:
        """Install the server.

        Args:
            home: home of the server, as a path on this machine.
            control: `/home/control` of its host, as a path on this machine.
            ip: address of the host.
            zone: zone of the server.
        """
        if self.flavour == "oceanbase":
            install(home, path=self.home)
            write_config(home, member(ip, zone), Path("/home/ledger", _LEDGER))
            return
        program = control / "program"
        program.write_text(_PROGRAM)
        program.chmod(0o755)
        shutil.copy("/bin/dash", control / self.program)
        (home / "bin").mkdir(parents=True)
        (home / "bin" / self.program).symlink_to("/home/control/program")


def member(ip: str, zone: str) -> Member:
    """Return a server as a member of its cluster of stand-ins."""
    return Member(ip, RPC_PORT, SQL_PORT, zone)


def ledger_file(cluster_directory: Path) -> Path:
    """Return the file with the shared state of the stand-ins of a host cluster."""
    return cluster_directory / "ledger" / _LEDGER


SEEKDB = Installation(
    "seekdb",
    "seekdb",
    "admin",
    6001,
    {"start_options": {"memory_limit": "2G", "log_disk_size": "2G"}},
)
# Root, because the stand-in needs this checkout and its interpreter, wherever they are.
OBSERVER = Installation("oceanbase", "observer", "root", 0)
