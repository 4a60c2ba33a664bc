"""One command on one channel, whose lines arrive while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncssh

from dagengine.errors import ConnectionLost, HostUnreachable
from dagengine.remote import messages
from dagengine.remote.command import Command
from dagengine.remote.line_buffer import LineBuffer
from dagengine.remote.process_group import GroupIdParser, announced
from dagengine.remote.runner import HostAddress, LineStream
from dagengine.remote.ssh.connection import SshConnection
from dagengine.remote.ssh.sessions import ChannelSession, SessionSlot, SessionSlots
from dagengine.remote.sudo import with_sudo


class StreamSession(ChannelSession):
    """A LineStream over SSH. Output of the login shell before the command is dropped."""

    def __init__(self, address: HostAddress, command: Command) -> None:
        super().__init__()
        self._address = address
        self._command = command
        self._announcement = GroupIdParser()
        self._lines = LineBuffer()
        self._has_exited = False

    async def read_line(self) -> str | None:
        """Return the next line; see `LineStream.read_line`."""
        line = await self._lines.read_line()
        if line is None and (self._lines.is_overrun or not self._has_exited):
            raise self.lost_error()
        return line

    def lost_error(self) -> ConnectionLost:
        """Build the error for a connection that broke."""
        command = self._command.render_short()
        return ConnectionLost(
            messages.CONNECTION_LOST(address=self._address, command=command),
            host=str(self._address),
            remedy=messages.CHECK_HOST(),
        )

    def write_line(self, text: str) -> None:
        """Write a line to stdin; see `LineStream.write_line`."""
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(f"{text}\n".encode())

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            return
        self._lines.feed(self._announcement.feed(data))
        if self._lines.is_overrun:
            self.close()

    def exit_status_received(self, status: int) -> None:
        self._has_exited = True

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._has_exited = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lines.end()


@asynccontextmanager
async def open_stream(
    link: SshConnection, sessions: SessionSlots, command: Command, timeout_s: float
) -> AsyncIterator[LineStream]:
    """Run a command in a session of its own; see `Runner.stream`.

    Args:
        link: the host's connection.
        sessions: the sessions for commands; one of them is taken.
        command: the command to run.
        timeout_s: limit on connecting and opening the session, in seconds.
    """
    address = link.address
    session = StreamSession(address, command)
    line = f"exec {with_sudo(announced(command), address.sudo).render()}"
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(timeout_s):
                slot = await stack.enter_async_context(sessions.take())
                connection = await stack.enter_async_context(link.use())
                stack.callback(session.close)
                await _open(session, link, connection, line, slot)
        except asyncssh.ChannelOpenError as error:
            raise HostUnreachable(
                messages.SESSION_REJECTED(address=address, reason=error.reason),
                host=str(address),
                remedy=messages.SET_MAX_SESSIONS(),
            ) from error
        except TimeoutError:
            name, host = command.render_short(), str(address)
            raise HostUnreachable(
                messages.HOST_SILENT(command=name, host=host, timeout_s=timeout_s),
                host=host,
                remedy=messages.CHECK_HOST(),
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise session.lost_error() from error
        yield session


async def _open(
    session: StreamSession,
    link: SshConnection,
    connection: asyncssh.SSHClientConnection,
    line: str,
    slot: SessionSlot,
) -> None:
    try:
        await session.open(connection, line, slot)
    except asyncio.CancelledError:
        if not session.was_opened:  # the host may still open the abandoned session
            link.retire(connection)
        raise
