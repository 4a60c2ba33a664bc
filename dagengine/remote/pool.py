"""One connection for each host, for everybody."""

from __future__ import annotations

import asyncio
from random import Random

from dagengine.clock import Clock
from dagengine.remote.base import HostAddress
from dagengine.remote.link import ConnectPacing, HostLink
from dagengine.remote.output import DEFAULT_LIMIT_BYTES
from dagengine.remote.ssh import SshRunner


class SshPool:
    """The RunnerPool over SSH. Connections open at first use and stay until `close`."""

    def __init__(
        self, clock: Clock, random: Random, *, output_limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """
        Args:
            clock: for the pace of connecting.
            random: for its jitter.
            output_limit_bytes: how much of a command's stdout, and of its stderr, is kept.
        """
        self._pacing = ConnectPacing(clock, random)
        self._output_limit_bytes = output_limit_bytes
        self._links: dict[HostAddress, HostLink] = {}
        self._runners: dict[HostAddress, SshRunner] = {}

    def runner(self, address: HostAddress) -> SshRunner:
        """The runner for an address; equal addresses get the same one."""
        if address not in self._runners:
            link = HostLink(address, self._pacing)
            self._links[address] = link
            self._runners[address] = SshRunner(link, output_limit_bytes=self._output_limit_bytes)
        return self._runners[address]

    async def close(self) -> None:
        """Close every connection; what still runs over one ends as ConnectionLost.

        Takes at most some seconds, whatever the hosts do; safe to call twice.
        """
        async with asyncio.TaskGroup() as group:
            for address, link in self._links.items():
                group.create_task(link.close(), name=f"close {address}")
