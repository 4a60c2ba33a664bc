"""Telling systemd: ready, what is being done, alive, stopping (sd_notify).

The protocol is one datagram, so it needs no library.
Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog

from dagengine.errors import StoreError
from dagengine.runtime.service import Service

_log = structlog.get_logger("dagengine.server.systemd")

_PARTS = 3  # so many signs of life in the time that systemd waits for one


class Notifier:
    """Sends to systemd; where there is none it does nothing."""

    def __init__(self, address: str) -> None:
        """`address` of the manager's socket; `@…` for an abstract one, empty for none."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def of_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """The one that the service manager names (`NOTIFY_SOCKET`)."""
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def send(self, *assignments: str) -> None:
        """Send such as `READY=1`. What goes wrong is logged: no reason to stop working."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
                line.sendto("\n".join(assignments).encode(), self._address)
        except OSError as exc:
            _log.warning("notification_not_sent", what=assignments[0], error=str(exc))


class Watchdog(Service):
    """Signs of life, as long as there is life: the event loop turns and the store's writer answers.

    Args:
        notifier: sends them.
        period_s: systemd ends the service when it hears nothing for so long.
        ping_writer: returns when the writer has had its turn.
    """

    name = "watchdog"

    def __init__(
        self, notifier: Notifier, period_s: float, ping_writer: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__()
        self._notifier = notifier
        self._pause_s = period_s / _PARTS
        self._ping_writer = ping_writer

    async def run(self) -> None:
        while True:
            await self.run_pass()
            await asyncio.sleep(self._pause_s)

    async def run_pass(self) -> bool:
        """Give one sign of life, or say why not."""
        try:
            async with asyncio.timeout(self._pause_s):
                await self._ping_writer()
        except (TimeoutError, StoreError) as exc:
            _log.error("sign_of_life_withheld", reason=str(exc) or "the store's writer is stuck")
            return False
        self._notifier.send("WATCHDOG=1")
        return True


def watchdog_period_s(environ: Mapping[str, str]) -> float | None:
    """How often systemd wants a sign of life, in seconds; None when it does not want any."""
    period_us = environ.get("WATCHDOG_USEC", "")
    of_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(period_us) / 1e6 if period_us.isdecimal() and int(period_us) and of_us else None
