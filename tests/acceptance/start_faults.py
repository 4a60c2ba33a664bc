"""Faults that prevent the start of one of two servers, and their fixes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.conftest import (
    ClusterTestbed,
)

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"

Fix = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """A fault of a server, and the expected failure."""

    name: str
    cause: Callable[[ClusterTestbed], Fix]
    stage: int
    expected_words: tuple[str, ...]
    errcode: int | None = None


def small_log_disk(testbed: ClusterTestbed) -> Fix:
    options = testbed.cluster.server_entry(1).setdefault("start_options", {})
    options["log_disk_size"] = "1G"
    testbed.cluster.write()

    def fix() -> None:
        options["log_disk_size"] = "2G"
        testbed.cluster.write()

    return fix


def port_taken(testbed: ClusterTestbed) -> Fix:
    taken = socket.create_server(("127.0.0.1", testbed.cluster.servers[1].sql_port))
    return lambda: closing(taken).__exit__(None, None, None)


def home_missing(testbed: ClusterTestbed) -> Fix:
    home = testbed.cluster.servers[1].home
    aside = home.with_name("aside")
    home.rename(aside)
    return lambda: shutil.move(aside, home)


def host_down(testbed: ClusterTestbed) -> Fix:
    entry = testbed.cluster.server_entry(1)["ssh"]
    port = entry["port"]
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        entry["port"] = free.getsockname()[1]
    # The address has a known host key, so only the connection fails.
    testbed.cluster.write()

    def fix() -> None:
        entry["port"] = port
        testbed.cluster.write()

    return fix


def host_frozen(testbed: ClusterTestbed) -> Fix:
    pid = testbed.cluster.servers[1].host.pid
    os.kill(pid, signal.SIGSTOP)
    testbed.cluster.server_entry(1)["ssh"]["connect_timeout_s"] = 3
    testbed.cluster.write()
    return lambda: os.kill(pid, signal.SIGCONT)


def wrong_host_key(testbed: ClusterTestbed) -> Fix:
    entry = testbed.cluster.server_entry(1)["ssh"]
    known_hosts_file = Path(entry["known_hosts"])
    other_known_hosts_file = testbed.cluster.directory / "other_known_hosts"
    keys = dict(line.split(" ", 1) for line in known_hosts_file.read_text().splitlines())
    key_of_first = keys[f"[127.0.0.1]:{testbed.cluster.servers[0].host.port}"]
    other_known_hosts_file.write_text(f"[127.0.0.1]:{entry['port']} {key_of_first}\n")
    entry["known_hosts"] = str(other_known_hosts_file)
    testbed.cluster.write()

    def fix() -> None:
        entry["known_hosts"] = str(known_hosts_file)
        testbed.cluster.write()

    return fix


def wrong_user(testbed: ClusterTestbed) -> Fix:
    entry = testbed.cluster.server_entry(1)["ssh"]
    user = entry["user"]
    entry["user"] = "unknown-user"
    testbed.cluster.write()

    def fix() -> None:
        entry["user"] = user
        testbed.cluster.write()

    return fix


FAULTS = [
    Fault("bad option", small_log_disk, 4, ("log_disk_size", "too small", "RETRY"), -4736),
    Fault("port taken", port_taken, 2, ("port", "taken", "sql_port")),
    Fault("home missing", home_missing, 2, ("home", "does not exist", "cluster file")),
    Fault("host down", host_down, 2, ("127.0.0.1:",)),
    Fault("host frozen", host_frozen, 2, ("127.0.0.1:",)),
    Fault("wrong host key", wrong_host_key, 2, ("key", "known_hosts")),
    Fault("wrong user", wrong_user, 2, ("unknown-user",)),
]
