"""One connection for each host, and for each bastion, for everybody."""

from __future__ import annotations

import asyncio
from itertools import groupby
from random import Random

from dagengine.remote.output import DEFAULT_LIMIT_BYTES
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.connection import ConnectRateLimiter, SshConnection
from dagengine.remote.ssh.connector import Login
from dagengine.remote.ssh.runner import SshRunner
from dagengine.runtime.clock import Clock


class SshPool:
    """The RunnerPool over SSH. Connections open at first use and stay until `close`.

    Attributes:
        login: makes the connections, and counts them.
    """

    def __init__(
        self, clock: Clock, random: Random, *, output_limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """
        Args:
            clock: for the pace of connecting.
            random: for its jitter.
            output_limit_bytes: how much of a command's stdout, and of its stderr, is kept.
        """
        self._pacing = ConnectRateLimiter(clock, random)
        self.login = Login()
        self._output_limit_bytes = output_limit_bytes
        self._links: dict[HostAddress, SshConnection] = {}
        self._runners: dict[HostAddress, SshRunner] = {}

    def runner(self, address: HostAddress) -> SshRunner:
        """The runner for an address; equal addresses get the same one."""
        if address not in self._runners:
            self._runners[address] = SshRunner(
                self.link(address), output_limit_bytes=self._output_limit_bytes
            )
        return self._runners[address]

    def link(self, address: HostAddress) -> SshConnection:
        """The connection to an address; equal addresses share one."""
        if address not in self._links:
            bastion = None if address.jump is None else self.link(address.jump)
            self._links[address] = SshConnection(address, self._pacing, self.login, bastion)
        return self._links[address]

    async def close(self) -> None:
        """Close every connection; what still runs over one ends as ConnectionLost.

        Takes at most some seconds, whatever the hosts do; safe to call twice.
        """
        for _, links in groupby(
            sorted(self._links.values(), key=_hops, reverse=True), key=_hops
        ):  # those behind a bastion before the bastion
            async with asyncio.TaskGroup() as group:
                for link in links:
                    group.create_task(link.close(), name=f"close {link.address}")


def _hops(link: SshConnection) -> int:
    return link.hops
