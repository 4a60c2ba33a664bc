"""The process that holds a port, found below /proc."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from dagengine.server.port_holder import find_port_holder

LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
    "print(s.getsockname()[1], flush=True); sys.stdin.read()"
)


def test_port_holder_own_process_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        holder = find_port_holder(server.getsockname()[1])
    assert holder is not None
    assert holder.pid == os.getpid()


def test_port_holder_names_program_with_first_words() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, "a", "b", "c"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        holder = find_port_holder(int(process.stdout.readline()))
        process.communicate()
    assert holder is not None
    assert holder.pid == process.pid
    assert holder.program.startswith("python")
    assert not holder.program.endswith("b")


def test_port_holder_ignores_connections_and_free_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client_port = client.getsockname()[1]
            assert find_port_holder(client_port) is None
    assert find_port_holder(port) is None
