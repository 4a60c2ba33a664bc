"""A runner for commands on one host over SSH."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from dagengine.act_guard import wait_until_may_act
from dagengine.errors import (
    AuthenticationFailed,
    CommandTimedOut,
    ConnectionLost,
    HostUnreachable,
    RemoteError,
)
from dagengine.remote import messages
from dagengine.remote.command import Command
from dagengine.remote.output import DEFAULT_LIMIT_BYTES, CappedOutput
from dagengine.remote.process_group import END_BOUND_S, GroupIdParser, announced, end_group
from dagengine.remote.runner import CommandResult, HostAddress, LineStream
from dagengine.remote.ssh.connection import SshConnection
from dagengine.remote.ssh.forwarding import forwarding_prohibited_error, key_options_of
from dagengine.remote.ssh.sessions import ChannelSession, SessionSlot, SessionSlots
from dagengine.remote.ssh.stream import open_stream
from dagengine.remote.sudo import SudoFailure, parse_sudo_probe, probe_sudo, sudo_error, with_sudo
from dagengine.remote.tunnel_socket import private_socket_path
from dagengine.runtime.cancellation import finish

_EXCERPT_LENGTH = 300


class SshRunner:
    """A Runner for one host over SSH. All calls share the host's single connection."""

    def __init__(
        self, link: SshConnection, *, output_limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """Create a runner on a host's connection.

        Args:
            link: the host's connection.
            output_limit_bytes: limit on the kept bytes of each stream.
        """
        self._link = link
        self._output_limit_bytes = output_limit_bytes
        for_commands = link.address.command_sessions
        self._sessions = SessionSlots(link, for_commands)
        self._ending_sessions = SessionSlots(link, max(1, link.address.max_sessions - for_commands))

    @property
    def address(self) -> HostAddress:
        return self._link.address

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        """Run a command; see `Runner.run`.

        If sudo did not run it, the cause is queried within a separate time limit.
        """
        await wait_until_may_act()  # not part of the time limit; `_run_over` repeats it
        session = await self._run_as(self.address.sudo, command, timeout_s)
        if session.group is not None:
            return session.result()
        raise await self._why_not_run(command, session)

    def stream(
        self, command: Command, *, timeout_s: float
    ) -> AbstractAsyncContextManager[LineStream]:
        """Start a command and exchange lines with it; see `Runner.stream`."""
        return open_stream(self._link, self._sessions, command, timeout_s)

    @asynccontextmanager
    async def tunnel(self, host: str, port: int) -> AsyncIterator[Path]:
        """Open a tunnel; see `Runner.tunnel`. Leaving the context stops new connections only."""
        async with self._link.use() as connection:
            with private_socket_path() as path:
                listener = await connection.forward_local_path_to_port(str(path), host, port)
                path.chmod(0o600)
                try:
                    yield path
                finally:
                    listener.close()

    async def ensure_forwarding(self, host: str, port: int) -> None:
        """Return if connections may be forwarded; see `Runner.ensure_forwarding`."""
        async with self._link.use() as connection:
            try:
                async with asyncio.timeout(self.address.connect_timeout_s):
                    _, writer = await connection.open_connection(host, port)
                    writer.close()
            except asyncssh.ChannelOpenError as error:
                if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
                    options = key_options_of(connection)
                    raise forwarding_prohibited_error(self.address, host, port, options) from error
            except (asyncssh.Error, OSError):
                return  # the connection broke or the host is silent, which its next use reports

    @asynccontextmanager
    async def tunnel_to_socket(self, path: str) -> AsyncIterator[Path]:
        """Open a tunnel; see `Runner.tunnel_to_socket`. Open connections outlive the context."""
        async with self._link.use() as connection:
            with private_socket_path() as local:
                listener = await connection.forward_local_path(str(local), path)
                local.chmod(0o600)
                try:
                    yield local
                finally:
                    listener.close()

    async def _run_as(self, user: str | None, command: Command, timeout_s: float) -> _Session:
        """Run a command as this user, None for the login user.

        If the returned session has no process group, the command did not run.
        """
        session = _Session(self._output_limit_bytes, user)
        try:
            async with asyncio.timeout(timeout_s), self._sessions.take() as slot:
                await self._run(command, session, slot)
        except TimeoutError:
            raise self._timed_out(command, timeout_s, session) from None
        if session.exit_status is None and session.signal is None:
            raise self._lost(command)
        return session

    async def _why_not_run(self, command: Command, session: _Session) -> RemoteError:
        """Probe as the login user whether sudo or the login shell prevented the command."""
        user = self.address.sudo
        if user is None:
            return self._not_run(command, session)
        probe = probe_sudo(user)
        probe_session = await self._run_as(None, probe, self.address.command_timeout_s)
        if probe_session.group is None:
            return self._not_run(probe, probe_session)
        failure, sudo_message = parse_sudo_probe(probe_session.result().stdout)
        if failure is None:  # sudo works now: report its earlier message
            failure, sudo_message = SudoFailure.OTHER, session.unexpected_output
        return sudo_error(self.address, failure, sudo_message)

    async def _run(self, command: Command, session: _Session, slot: SessionSlot) -> None:
        for is_second_try in (False, True):
            async with self._link.use() as connection:
                try:
                    await self._run_over(connection, command, session, slot)
                    return
                except asyncssh.ChannelOpenError as error:
                    if session.was_opened:
                        raise self._lost(command) from error
                    # Nothing was sent: the connection is dead or full. Retry once on a new one.
                    self._link.retire(connection)
                    if is_second_try:
                        raise HostUnreachable(
                            messages.SESSION_REJECTED(address=self.address, reason=error.reason),
                            host=str(self.address),
                            remedy=messages.SET_MAX_SESSIONS(),
                        ) from error
                except (asyncssh.Error, OSError) as error:
                    raise self._lost(command) from error

    async def _run_over(
        self,
        connection: asyncssh.SSHClientConnection,
        command: Command,
        session: _Session,
        slot: SessionSlot,
    ) -> None:
        line = with_sudo(announced(command), session.user).render()
        await wait_until_may_act()  # connecting may have taken long
        try:
            await session.open(connection, f"exec {line}", slot)
            session.give_input(command)
            await session.ended.wait()
        except asyncio.CancelledError:
            if session.was_opened:
                session.confirmed_ended = await self._end(connection, session)
            else:
                # Nothing was sent, but the host may still open the abandoned session.
                self._link.retire(connection)
            raise

    async def _end(self, connection: asyncssh.SSHClientConnection, session: _Session) -> bool:
        """Terminate the command's group over a second session; True if no process is left."""
        proven = None
        try:
            proven = await finish(
                self._ask_end(connection, session),
                bound_s=END_BOUND_S,
                name=f"end command on {self.address}",
            )
        finally:
            session.close()
            if proven is None:
                self._link.retire(connection)
        return proven is True

    async def _ask_end(self, connection: asyncssh.SSHClientConnection, session: _Session) -> bool:
        await session.announced.wait()
        if not session.group:
            return False
        line = with_sudo(end_group(session.group), session.user).render()
        try:
            return await self._end_over(connection, line)
        except (asyncssh.Error, OSError):
            # The connection is broken or has no free session: try another one.
            self._link.retire(connection)
        return await self._end_over_another(line)

    async def _end_over_another(self, line: str) -> bool:
        """End over other connections, until one has a free session; the caller limits the time.

        If several commands are ended at the same time, each may find the newest connection full.
        """
        while True:
            try:
                async with self._link.use() as another:
                    try:
                        return await self._end_over(another, line)
                    except (asyncssh.Error, OSError):
                        self._link.retire(another)
            except RemoteError:
                return False

    async def _end_over(self, connection: asyncssh.SSHClientConnection, line: str) -> bool:
        ending = _Session(self._output_limit_bytes)
        try:
            async with self._ending_sessions.take() as slot:
                await ending.open(connection, line, slot)
                await ending.ended.wait()
        finally:
            ending.close()
        return ending.exit_status == 0

    def _timed_out(self, command: Command, timeout_s: float, session: _Session) -> RemoteError:
        name, host = command.render_short(), str(self.address)
        if session.was_opened and session.group is None:
            user = self.address.user
            is_hung = messages.SHELL_OR_SUDO_HUNG if session.user else messages.SHELL_HUNG
            return CommandTimedOut(
                is_hung(user=user, address=host, command=name, timeout_s=timeout_s),
                host=host,
                confirmed_ended=False,
                remedy=messages.CHECK_START_UP_FILES(user=user),
            )
        if session.was_opened:
            has_ended = session.confirmed_ended
            timed_out = (
                messages.COMMAND_TIMED_OUT if has_ended else messages.COMMAND_TIMED_OUT_MAY_RUN
            )
            return CommandTimedOut(
                timed_out(command=name, host=host, timeout_s=timeout_s),
                host=host,
                confirmed_ended=session.confirmed_ended,
            )
        if self._link.is_open:
            return CommandTimedOut(
                messages.SESSIONS_BUSY(command=name, host=host, timeout_s=timeout_s),
                host=host,
                confirmed_ended=True,
            )
        return HostUnreachable(
            messages.HOST_SILENT(command=name, host=host, timeout_s=timeout_s),
            host=host,
            remedy=messages.CHECK_HOST(),
        )

    def _lost(self, command: Command) -> ConnectionLost:
        return ConnectionLost(
            messages.CONNECTION_LOST(address=self.address, command=command.render_short()),
            host=str(self.address),
            remedy=messages.CHECK_BEFORE_REPEATING(),
        )

    def _not_run(self, command: Command, session: _Session) -> AuthenticationFailed:
        user, output = self.address.user, session.unexpected_output
        return AuthenticationFailed(
            messages.SHELL_DID_NOT_RUN(
                user=user,
                address=self.address,
                command=command.render_short(),
                status=session.exit_status,
                output=output,
            ),
            host=str(self.address),
            remedy=messages.CORRECT_LOGIN_SHELL(user=user),
        )


class _Session(ChannelSession):
    """One command on one channel: collects its output and how it ended.

    Attributes:
        user: the user it runs as through sudo, who alone can terminate it; None for the login user.
        announced: set when the process group is known, or will never be.
        ended: set when the channel is closed by either side.
        confirmed_ended: True if a check on the host found no process of the group.
    """

    def __init__(self, output_limit_bytes: int, user: str | None = None) -> None:
        super().__init__()
        self.user = user
        self.announced = asyncio.Event()
        self.ended = asyncio.Event()
        self.confirmed_ended = False
        self.exit_status: int | None = None
        self.signal: str | None = None
        self._announcement = GroupIdParser()
        self._out = CappedOutput(output_limit_bytes)
        self._err = CappedOutput(output_limit_bytes)

    @property
    def group(self) -> int | None:
        """The command's process group; None if it was not announced (yet)."""
        return self._announcement.group

    @property
    def unexpected_output(self) -> str:
        """The shortened output that arrived instead of the command's output."""
        noise = self._announcement.noise.decode("utf-8", errors="replace")
        return f"{noise} {self._err.text()}".strip()[:_EXCERPT_LENGTH]

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._err.feed(data)
            return
        self._out.feed(self._announcement.feed(data))
        if self._announcement.group is not None:
            self.announced.set()

    def exit_status_received(self, status: int) -> None:
        self.exit_status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.announced.set()
        self.ended.set()

    def give_input(self, command: Command) -> None:
        """Write all of standard input; the channel buffers what the host does not accept yet."""
        assert self._channel is not None
        try:
            self._channel.write(command.input_text().encode("utf-8", errors="surrogateescape"))
            self._channel.write_eof()
        except BrokenPipeError:
            return  # The command ended without reading; its result shows how.

    def result(self) -> CommandResult:
        return CommandResult(
            exit_status=self.exit_status,
            signal=self.signal,
            stdout=self._out.text(),
            stderr=self._err.text(),
            truncated=self._out.truncated or self._err.truncated,
        )
