"""`free_port`, from which demos and tests take their ports."""

from __future__ import annotations

import socket
from pathlib import Path

from tasks.demo.hosts import LOOPBACK, free_port

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_free_port_is_not_one_of_outgoing_connections() -> None:
    first, last = map(int, _OUTGOING.read_text().split())
    assert not any(first <= free_port() <= last for _ in range(100))


def test_free_port_gives_each_port_once() -> None:
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)


def test_free_port_passes_over_used_port() -> None:
    used = free_port() + 1
    with socket.socket() as holder:
        holder.bind((LOOPBACK, used))
        assert free_port() != used
