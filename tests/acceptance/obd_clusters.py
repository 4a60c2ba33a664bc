"""Clusters in the format of obd: one host, one file, with the password."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.demo.cluster import PASSWORD_VARIABLE, START_OPTIONS, DemoCluster, DemoServer
from tasks.demo.hosts import LOOPBACK
from tests.support.standin.cluster import OceanCluster


class ObdSeekdb(DemoCluster):
    """A seekdb cluster. obd files name no known_hosts, so the file of the user is used."""

    def _describe(self) -> dict[str, Any]:
        (server,) = self.servers
        _trust(self.directory, server)
        return {
            "user": _user(server),
            "seekdb": {
                "servers": [LOOPBACK],
                "global": {
                    **_places(server),
                    **START_OPTIONS,
                    "root_password": self.password,
                    "production_mode": False,
                },
            },
        }

    @property
    def environment(self) -> Mapping[str, str]:
        return _environment(super().environment, self.directory)


class ObdOcean(OceanCluster):
    """Three observers in three zones; all of them are reached through the first host's sshd."""

    def _describe(self) -> dict[str, Any]:
        _trust(self.directory, self.servers[0])
        names = [f"server{number}" for number in range(1, len(self.servers) + 1)]
        sections = {
            name: _places(server) | {"rpc_port": member.rpc_port, "zone": member.zone}
            for name, server, member in zip(names, self.servers, self.members, strict=True)
        }
        return {
            "user": _user(self.servers[0]),
            "oceanbase-ce": {
                "servers": [{"name": name, "ip": LOOPBACK} for name in names],
                "global": {"appname": "shop", "cluster_id": 7, "root_password": self.password},
                **sections,
            },
            "obproxy-ce": {"servers": [LOOPBACK], "global": {"listen_port": 2883}},
        }

    @property
    def environment(self) -> Mapping[str, str]:
        return _environment(super().environment, self.directory)


def _user(server: DemoServer) -> dict[str, Any]:
    host = server.host
    return {"username": host.user, "port": host.port, "key_file": str(host.key_file)}


def _places(server: DemoServer) -> dict[str, Any]:
    return {
        "home_path": str(server.home),
        "mysql_port": server.sql_port,
        "obshell_port": int(server.name.rpartition(":")[2]),
    }


def _trust(home: Path, server: DemoServer) -> None:
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    (home / ".ssh" / "known_hosts").write_bytes(server.host.known_hosts.read_bytes())


def _environment(inherited: Mapping[str, str], home: Path) -> Mapping[str, str]:
    """Remove the variable of the password, so that the password of the file is used."""
    remaining = {name: value for name, value in inherited.items() if name != PASSWORD_VARIABLE}
    return {**remaining, "HOME": str(home)}
