"""The script that finds a server's SQL endpoint, on a fake server and a real socket file."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.hosts.commands import sql_listener_command
from tasks.sql.route import ThroughSocketFile, find_socket_file, parse_sql_facts
from tests.support.factories import make_server
from tests.support.fake_servers import open_directory, run_as, run_server


@contextmanager
def socket_file(directory: Path) -> Iterator[None]:
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "sql.sock"))
        yield


@pytest.mark.parametrize("is_linked", [False, True], ids=["directory", "link"])
def test_sql_listener_command_linked_run_directory_is_refused(is_linked: bool) -> None:
    """The owner and mode of a link's target do not show who can replace the link."""
    with open_directory() as root:
        home, elsewhere = root / "home", root / "run"
        home.mkdir()
        with (
            socket_file(elsewhere if is_linked else home / "run"),
            run_server(home) as process,
        ):
            if is_linked:
                (home / "run").symlink_to(elsewhere)
            server = make_server(home=str(home), sql_port=1)
            facts = parse_sql_facts(run_as(None, sql_listener_command(server)))
            assert facts.process is not None
            assert (facts.complete, facts.process.pid) == (True, process.pid)
            assert facts.has_socket_file is not is_linked
            route = find_socket_file(facts, server)
            assert isinstance(route, ThroughSocketFile) is not is_linked


@pytest.mark.parametrize("known", ["server", "neighbour", "ended"])
def test_sql_listener_command_identifies_server_of_any_known_pid(known: str) -> None:
    """A pid that does not belong to the server leads to a search, not to a wrong result."""
    with open_directory() as root:
        home, neighbour = root / "home", root / "neighbour"
        home.mkdir()
        neighbour.mkdir()
        with run_server(neighbour) as other, run_server(home) as process:
            pid = {"server": process.pid, "neighbour": other.pid, "ended": 2**22}[known]
            server = make_server(home=str(home), sql_port=1)
            facts = parse_sql_facts(run_as(None, sql_listener_command(server, pid=pid)))
            assert facts.process is not None
            assert (facts.process.pid, facts.doubts) == (process.pid, ())


def test_sql_listener_command_pid_of_other_home_is_no_server() -> None:
    with open_directory() as root:
        home, neighbour = root / "home", root / "neighbour"
        home.mkdir()
        neighbour.mkdir()
        with run_server(neighbour) as other:
            server = make_server(home=str(home), sql_port=1)
            facts = parse_sql_facts(run_as(None, sql_listener_command(server, pid=other.pid)))
            assert (facts.complete, facts.process) == (True, None)
