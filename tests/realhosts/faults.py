"""Faults that make a host unreachable, and their repair. Data for the matrix."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.realhosts.host import Host
from tests.realhosts.host_cluster import HostCluster
from tests.realhosts.network import CONTROLLER_IP


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that makes a host unreachable.

    Attributes:
        name: for reports.
        cause: causes the fault; returns when it is effective.
        repair: undoes the fault.
        is_silent: the controller is not notified, so it has to detect the fault.
    """

    name: str
    cause: Callable[[HostCluster, Host], None]
    repair: Callable[[HostCluster, Host], None]
    is_silent: bool = True


def _link_down(cluster: HostCluster, host: Host) -> None:
    cluster.network.set_link(host.number, up=False)


def _link_up(cluster: HostCluster, host: Host) -> None:
    cluster.network.set_link(host.number, up=True)


def _drop_packets(cluster: HostCluster, host: Host) -> None:
    host.run("ip", "route", "add", "blackhole", CONTROLLER_IP)


def _let_packets_through(cluster: HostCluster, host: Host) -> None:
    host.run("ip", "route", "del", "blackhole", CONTROLLER_IP)


def _freeze_sshd(cluster: HostCluster, host: Host) -> None:
    host.signal_sshd(signal.SIGSTOP)


def _thaw_sshd(cluster: HostCluster, host: Host) -> None:
    host.signal_sshd(signal.SIGCONT)


def _kill_sshd(cluster: HostCluster, host: Host) -> None:
    host.signal_sshd(signal.SIGKILL)


def _start_sshd(cluster: HostCluster, host: Host) -> None:
    host.start_sshd()


LINK_DOWN = Fault("link down", _link_down, _link_up)
PACKETS_DROPPED = Fault("packets dropped", _drop_packets, _let_packets_through)
SSHD_FROZEN = Fault("sshd frozen", _freeze_sshd, _thaw_sshd)
SSHD_KILLED = Fault("sshd killed", _kill_sshd, _start_sshd, is_silent=False)
FAULTS = (LINK_DOWN, PACKETS_DROPPED, SSHD_FROZEN, SSHD_KILLED)
