"""A cluster of stand-in observers on demo hosts, in zones."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

from tasks.demo.cluster import PASSWORD_VARIABLE, DemoCluster, DemoServer
from tasks.demo.hosts import LOOPBACK, DemoHosts, free_port
from tests.support.fake_servers import copy_interpreter
from tests.support.standin.cluster_state import Ledger, Member
from tests.support.standin.sql import write_config

ROOT = Path(__file__).parents[3]
_PROGRAM = """\
#!{python} -P
import sys
sys.path[:0] = {path!r}
from tests.support.standin.observer import main
sys.exit(main(sys.argv))
"""


def install(home: Path, *, path: str = "") -> None:
    """The replacement for the installed server program.

    Args:
        home: of the server.
        path: of the home on its host, if it has another path there.
    """
    for part in ("bin", "lib", "run", "log", "etc"):
        (home / part).mkdir(parents=True, exist_ok=True)
    program = home / "bin" / "observer"
    # The interpreter is the executable of the process, so it has the name of the server.
    interpreter = "lib/python/observer"
    copy_interpreter(home / interpreter)
    python = Path(path or home, interpreter)
    packages = sysconfig.get_paths()["purelib"]
    program.write_text(_PROGRAM.format(python=python, path=[str(ROOT), packages]))
    program.chmod(0o755)


class OceanCluster(DemoCluster):
    """Homes, a bootstrapped ledger, and files for a controller.

    Attributes:
        ledger: what the stand-ins know of their cluster.
        members: one for each server, in the servers' order.
    """

    def __init__(self, hosts: DemoHosts, *, zones: int = 3) -> None:
        self._zones = zones
        self._ports: set[int] = set()
        self.members: list[Member] = []
        super().__init__(hosts)
        self.ledger = Ledger(self.directory / "ledger.sqlite")
        self.ledger.bootstrap(self.members, self.password)

    def wish(self, number: int, **wish: Any) -> None:
        """Set the failures of a server, also of a running one; without arguments, it has none."""
        file = self.servers[number].home / "etc/standin.json"
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(wish))
        draft.replace(file)

    def server_entry(self, number: int) -> dict[str, Any]:
        zone, position = self._place(number)
        entry: dict[str, Any] = self.entries["zones"][zone][position]
        return entry

    def _place(self, number: int) -> tuple[str, int]:
        per_zone = len(self.servers) // self._zones
        return f"zone{number // per_zone + 1}", number % per_zone

    def _make_server(self, hosts: DemoHosts, number: int) -> DemoServer:
        host = hosts.hosts[number]
        home = host.directory / "observer"
        install(home)
        hosts.guard.watch_home(home)
        per_zone = len(hosts.hosts) // self._zones
        zone = f"zone{number // per_zone + 1}"
        member = Member(LOOPBACK, self._port(), self._port(), zone)
        self.members.append(member)
        write_config(home, member, hosts.directory / "ledger.sqlite")
        return DemoServer(f"{LOOPBACK}:{2886 + number}", home, member.sql_port, host)

    def _port(self) -> int:
        while (port := free_port()) in self._ports:
            pass
        self._ports.add(port)
        return port

    def _describe(self) -> dict[str, Any]:
        entries = super()._describe()
        servers = [entry for zone in entries["zones"].values() for entry in zone]
        zones: dict[str, list[dict[str, Any]]] = {}
        for entry, member in zip(servers, self.members, strict=True):
            zones.setdefault(member.zone, []).append(entry | {"rpc_port": member.rpc_port})
        return {
            "name": "ocean",
            "id": 1,
            "flavour": "oceanbase",
            "root_password_env": PASSWORD_VARIABLE,
            # Too few for the watch of a host: nine on one machine would search for each other's
            # servers. tests/realhosts has hosts of their own.
            "ssh": {"max_sessions": 3},
            "zones": zones,
        }
