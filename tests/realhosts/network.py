"""The network between the controller and its hosts, in unnamed namespaces.

It is invisible from outside, so names cannot clash, and the kernel removes it when its last process
has ended.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROLLER_IP = "198.18.0.1"
"""From the range for tests of networks. Source: RFC 2544."""

_PREFIX_BITS = 24
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def host_ip(number: int) -> str:
    """Return the address of a host, counted from 1."""
    return f"198.18.0.{10 + number}"


class Network:
    """The controller's network namespace, with the bridge that the hosts are connected to."""

    def __init__(self) -> None:
        # This process only keeps the namespace alive, and ends with the test process.
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_apart()
        self._file = os.open(f"/proc/{self._keeper.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._ip("link set lo up")
        self._ip("link add hosts type bridge forward_delay 0")
        self._ip(f"address add {CONTROLLER_IP}/{_PREFIX_BITS} dev hosts")
        self._ip("link set hosts up")

    def plug(self, number: int, init_pid: int) -> None:
        """Connect a host to the bridge; the host's interface is `eth0`."""
        self._ip(f"link add port{number} type veth peer name eth0 netns {init_pid}")
        self._ip(f"link set port{number} master hosts up")

    def set_link(self, number: int, *, up: bool) -> None:
        """Set a host's link up or down."""
        self._ip(f"link set port{number} {'up' if up else 'down'}")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the block, and the processes it starts, in the controller's network."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._file)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def close(self) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        os.close(self._file)

    def _ip(self, arguments: str) -> None:
        _run_in(self._keeper.pid, ["--net"], ["ip", *arguments.split()])

    def _wait_apart(self) -> None:
        """Wait until `cat` runs, which means that the namespace exists."""
        while Path(f"/proc/{self._keeper.pid}/comm").read_text().strip() != "cat":
            if self._keeper.poll() is not None:
                raise RuntimeError("no network namespace could be made")


def host_network_commands(number: int) -> list[list[str]]:
    """Return the commands with which a host configures its interface."""
    return [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{host_ip(number)}/{_PREFIX_BITS}", "dev", "eth0"],
        ["ip", "link", "set", "eth0", "up"],
    ]


def _run_in(pid: int, kinds: list[str], argv: list[str]) -> str:
    done = subprocess.run(
        ["nsenter", "--target", str(pid), *kinds, "--", *argv],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
