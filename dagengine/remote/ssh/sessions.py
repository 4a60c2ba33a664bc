"""The sessions on the connection to one host, counted as its sshd counts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh

from dagengine.remote.login_shell import render_for_login_shell
from dagengine.remote.ssh.connection import SshConnection
from dagengine.runtime.backoff import Backoff

_CLOSE_BOUND_S = 5.0
# sshd may permit fewer sessions than `max_sessions` states; others end soon.
_OPEN_SESSION = Backoff((0.02, 0.1))


class SessionSlots:
    """Limits the sessions that are open on the connection to a host.

    sshd counts a session until the channel is closed by both sides and it has also left the read
    of its socket in which the close arrived: a session that is opened in the same packets as the
    close of another is refused. A slot is therefore free only after a response to a request that
    was sent after the close. That request is sent when no other slot is free.
    """

    def __init__(self, link: SshConnection, count: int) -> None:
        """Create slots that are all free.

        Args:
            link: the connection to the host.
            count: limit on the sessions that are open at the same time, at least 1.
        """
        self._link = link
        self._count = count
        self._taken = 0
        self._closed: list[
            asyncssh.SSHClientConnection
        ] = []  # of each closed session that may count
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[SessionSlot]:
        """Wait for a slot. It is free again when its session, if it opens one, is closed."""
        async with self._turn:
            while self._taken + len(self._closed) >= self._count:
                self._changed.clear()
                if self._closed:
                    await self._pass_closed()
                else:
                    await self._changed.wait()
            self._taken += 1
        slot = SessionSlot(self, self._link)
        try:
            yield slot
        finally:
            slot.leave()

    def free(self, closed_on: asyncssh.SSHClientConnection | None) -> None:
        """Free a slot; `closed_on` is the connection if its session was closed by both sides."""
        self._taken -= 1
        if closed_on is not None and self._link.offers(closed_on):
            self._closed.append(closed_on)
        self._changed.set()

    async def _pass_closed(self) -> None:
        """Wait until sshd no longer counts the sessions that are closed by now."""
        closed = tuple(self._closed)
        for connection in set(closed):
            if self._link.offers(connection):
                await _exchange(connection)
        del self._closed[: len(closed)]


class SessionSlot:
    """A slot and the session in it, if one was opened."""

    def __init__(self, slots: SessionSlots, link: SshConnection) -> None:
        self._slots = slots
        self._link = link
        self._connection: asyncssh.SSHClientConnection | None = None
        self._is_free = False

    def opened(self, connection: asyncssh.SSHClientConnection) -> None:
        """Note that a session was opened."""
        self._connection = connection

    def closed(self) -> None:
        """Note that the session was closed by both sides, or that its connection has ended."""
        self._free(self._connection)

    def leave(self) -> None:
        """Free the slot if no session is open; otherwise it is freed when sshd has closed it."""
        connection = self._connection
        if connection is None or not self._link.offers(connection):
            self._free(None)
        elif not self._is_free:
            asyncio.get_running_loop().call_later(_CLOSE_BOUND_S, self._give_up, connection)

    def _give_up(self, connection: asyncssh.SSHClientConnection) -> None:
        """Stop using a connection on which a session stays open: its command does not end."""
        if not self._is_free:
            self._link.retire(connection)
            self._free(None)

    def _free(self, closed_on: asyncssh.SSHClientConnection | None) -> None:
        if not self._is_free:
            self._is_free = True
            self._slots.free(closed_on)


class ChannelSession(asyncssh.SSHClientSession[bytes]):
    """A session with one command, in a slot.

    Attributes:
        was_opened: True as soon as something may have been sent.
    """

    def __init__(self) -> None:
        self.was_opened = False
        self._slot: SessionSlot | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None

    async def open(
        self, connection: asyncssh.SSHClientConnection, line: str, slot: SessionSlot
    ) -> None:
        """Start a POSIX command line, whatever the login shell.

        Raises:
            asyncssh.ChannelOpenError: the host opens no further session; nothing was sent.
        """
        self._slot, self._connection = slot, connection
        line = render_for_login_shell(line)
        for pause_s in _OPEN_SESSION.steps_s:
            try:
                await connection.create_session(lambda: self, line, encoding=None)
                return
            except asyncssh.ChannelOpenError:
                if self.was_opened or connection.is_closed():
                    raise
            await asyncio.sleep(pause_s)
        await connection.create_session(lambda: self, line, encoding=None)

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        self.was_opened = True
        if self._slot is not None and self._connection is not None:
            self._slot.opened(self._connection)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._slot is not None:
            self._slot.closed()

    def close(self) -> None:
        """Abort the channel; sshd then closes stdin and stdout of the command."""
        if self._channel is not None:
            self._channel.abort()


async def _exchange(connection: asyncssh.SSHClientConnection) -> None:
    """Send a request that every sshd answers; return with the answer or the lost connection."""
    # The public methods of asyncssh either expect no answer or forward something.
    await connection._make_global_request(b"keepalive@openssh.com")
