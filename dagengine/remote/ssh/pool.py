"""A pool with one shared SSH connection per host and per bastion."""

from __future__ import annotations

import asyncio
from itertools import groupby
from operator import attrgetter
from random import Random

from dagengine.remote.output import DEFAULT_LIMIT_BYTES
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.connection import ConnectRateLimiter, SshConnection
from dagengine.remote.ssh.connector import Login
from dagengine.remote.ssh.runner import SshRunner
from dagengine.runtime.clock import Clock


class SshPool:
    """A RunnerPool over SSH. Connections open on first use and stay open until `close`.

    Attributes:
        login: opens the connections and counts the logins.
    """

    def __init__(
        self, clock: Clock, random: Random, *, output_limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """Create a pool without connections.

        Args:
            clock: for the rate limit on new connections.
            random: for the jitter of that limit.
            output_limit_bytes: limit on the kept bytes of a command's stdout, and of its stderr.
        """
        self._pacing = ConnectRateLimiter(clock, random)
        self.login = Login()
        self._output_limit_bytes = output_limit_bytes
        self._links: dict[HostAddress, SshConnection] = {}
        self._runners: dict[HostAddress, SshRunner] = {}

    def runner(self, address: HostAddress) -> SshRunner:
        """Return the runner for an address; equal addresses get the same one."""
        if address not in self._runners:
            self._runners[address] = SshRunner(
                self.link(address), output_limit_bytes=self._output_limit_bytes
            )
        return self._runners[address]

    def link(self, address: HostAddress) -> SshConnection:
        """Return the connection to an address; equal addresses share one."""
        if address not in self._links:
            bastion = None if address.jump is None else self.link(address.jump)
            self._links[address] = SshConnection(address, self._pacing, self.login, bastion)
        return self._links[address]

    async def close(self) -> None:
        """Close every connection; commands that still run raise ConnectionLost.

        Takes at most a few seconds, whatever the hosts do; safe to call twice.
        """
        hops = attrgetter("hops")
        for _, links in groupby(
            sorted(self._links.values(), key=hops, reverse=True), key=hops
        ):  # hosts behind a bastion before the bastion
            async with asyncio.TaskGroup() as group:
                for link in links:
                    group.create_task(link.close(), name=f"close {link.address}")
