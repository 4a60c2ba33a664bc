"""Notifications to systemd: ready, status, watchdog, stopping (sd_notify).

The protocol is a single datagram, so it does not need a library.
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
from dagengine.server import messages

_log = structlog.get_logger("dagengine.server.systemd")

_PARTS = 3  # keep-alives per watchdog period


class Notifier:
    """Sends notifications to systemd; does nothing if systemd is absent."""

    def __init__(self, address: str) -> None:
        """Set the `address` of the manager's socket; `@…` is abstract, empty disables sending."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Notifier:
        """Return a notifier for the socket that the service manager set (`NOTIFY_SOCKET`)."""
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def send(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`.

        Errors are only logged, because they must not stop the controller.
        """
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
                line.sendto("\n".join(assignments).encode(), self._address)
        except OSError as exc:
            _log.warning("notification_not_sent", what=assignments[0], error=str(exc))


class Watchdog(Service):
    """Sends keep-alives to systemd while the event loop runs and the store's writer responds.

    Args:
        notifier: sends them.
        period_s: time without a keep-alive after which systemd ends the service, in seconds.
        ping_writer: returns once the writer has processed its queue.
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
        """Send one keep-alive, or log why it is withheld; return True if it was sent."""
        try:
            async with asyncio.timeout(self._pause_s):
                await self._ping_writer()
        except (TimeoutError, StoreError) as exc:
            _log.error("watchdog_ping_skipped", reason=str(exc) or messages.WRITER_STUCK())
            return False
        self._notifier.send("WATCHDOG=1")
        return True


def watchdog_period_s(environ: Mapping[str, str]) -> float | None:
    """Return systemd's watchdog period in seconds; None if the watchdog is disabled."""
    period_us = environ.get("WATCHDOG_USEC", "")
    of_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(period_us) / 1e6 if period_us.isdecimal() and int(period_us) and of_us else None
