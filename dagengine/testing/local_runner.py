"""A runner for commands on this machine, under the same contract as for a remote host."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from dagengine.act_guard import wait_until_may_act
from dagengine.errors import CommandTimedOut
from dagengine.remote.command import Command
from dagengine.remote.line_buffer import LineBuffer
from dagengine.remote.output import DEFAULT_LIMIT_BYTES, CappedOutput
from dagengine.remote.process_group import END_BOUND_S, end_group
from dagengine.remote.runner import CommandResult, HostAddress, LineStream
from dagengine.remote.tunnel_socket import private_socket_path
from dagengine.runtime.cancellation import finish, wait_out
from dagengine.testing import messages

_CHUNK_BYTES = 64 * 1024

Connect: TypeAlias = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class LocalRunner:
    """A Runner for this machine; without a connection, so it never raises connection errors."""

    def __init__(
        self,
        address: HostAddress | None = None,
        *,
        output_limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        """Create a runner.

        Args:
            address: only shown in messages.
            output_limit_bytes: limit on the kept bytes of each stream.
        """
        self._address = address or HostAddress("127.0.0.1")
        self._output_limit_bytes = output_limit_bytes

    @property
    def address(self) -> HostAddress:
        return self._address

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        """Run a command; see `Runner.run`."""
        await wait_until_may_act()
        # An interrupted start could leave children whose process group is unknown.
        starting = asyncio.create_task(self._start(command), name="start local command")
        cancelled = await wait_out(starting)
        running = starting.result()
        try:
            if cancelled is not None:
                raise cancelled
            async with asyncio.timeout(timeout_s):
                await running.ended.wait()
        except TimeoutError:
            raise CommandTimedOut(
                messages.COMMAND_TIMED_OUT(command=command.render_short(), timeout_s=timeout_s),
                host=str(self._address),
                confirmed_ended=await self._end(running),
            ) from None
        except asyncio.CancelledError:
            await self._end(running)
            raise
        running.transport.close()
        return running.result()

    @asynccontextmanager
    async def stream(self, command: Command, *, timeout_s: float) -> AsyncIterator[LineStream]:
        """Start a command and exchange lines with it; see `Runner.stream`."""
        transport, stream = await asyncio.get_running_loop().subprocess_exec(
            _LocalStream, *_shell_words(command), start_new_session=True
        )
        stream.transport = transport
        try:
            yield stream
        finally:
            transport.close()  # also kills the process
            await stream.exited.wait()

    def tunnel(self, host: str, port: int) -> AbstractAsyncContextManager[Path]:
        """Open a tunnel; see `Runner.tunnel`.

        It relays data, so that both ends close as they do over SSH.
        """
        return self._relay_to(partial(asyncio.open_connection, host, port))

    async def ensure_forwarding(self, host: str, port: int) -> None:
        """Return: this machine prohibits nothing."""

    def tunnel_to_socket(self, path: str) -> AbstractAsyncContextManager[Path]:
        """Open a tunnel; see `Runner.tunnel_to_socket`."""
        return self._relay_to(partial(asyncio.open_unix_connection, path))

    @asynccontextmanager
    async def _relay_to(self, connect: Connect) -> AsyncIterator[Path]:
        relays: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Create the task here: Python 3.11 logs the cancellation of one created by the server.
            relay = asyncio.create_task(_relay(reader, writer, connect), name="relay")
            relays.add(relay)
            relay.add_done_callback(relays.discard)

        with private_socket_path() as path:
            server = await asyncio.start_unix_server(serve, path)
            path.chmod(0o600)
            try:
                yield path
            finally:
                server.close()
                for relay in relays:
                    relay.cancel()
                await asyncio.gather(*relays, return_exceptions=True)

    async def _start(self, command: Command) -> _LocalProcess:
        # Use a shell like sshd, so that a missing program gives exit status 127 with both.
        transport, running = await asyncio.get_running_loop().subprocess_exec(
            lambda: _LocalProcess(self._output_limit_bytes),
            *_shell_words(command),
            start_new_session=True,
        )
        running.transport = transport
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        stdin.write(command.input_text().encode("utf-8", errors="surrogateescape"))
        stdin.write_eof()
        return running

    async def _end(self, running: _LocalProcess) -> bool:
        """Terminate the group; return True if no process of it is left."""
        try:
            proven = await finish(
                self._ask_end(running), bound_s=END_BOUND_S, name="end local command"
            )
        finally:
            running.transport.close()
        return proven is True

    async def _ask_end(self, running: _LocalProcess) -> bool:
        ending = await self._start(end_group(running.transport.get_pid()))
        try:
            await ending.ended.wait()
            return ending.result().exit_status == 0
        finally:
            ending.transport.close()


class LocalRunnerPool:
    """A RunnerPool that maps every address to this machine; for trials and tests."""

    def runner(self, address: HostAddress) -> LocalRunner:
        return LocalRunner(address)

    async def close(self) -> None:
        """Do nothing: no connection is open."""


class _LocalStream(asyncio.SubprocessProtocol):
    """A LineStream to a process of this machine."""

    transport: asyncio.SubprocessTransport

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self._lines = LineBuffer()

    async def read_line(self) -> str | None:
        return await self._lines.read_line()

    def write_line(self, text: str) -> None:
        stdin = self.transport.get_pipe_transport(0)
        if isinstance(stdin, asyncio.WriteTransport) and not stdin.is_closing():
            stdin.write(f"{text}\n".encode())

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._lines.feed(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lines.end()


def _shell_words(command: Command) -> tuple[str, ...]:
    return "/bin/sh", "-c", f"exec {command.render()}"


class _LocalProcess(asyncio.SubprocessProtocol):
    """One process: collects its output; `ended` is set when it and its output have ended."""

    transport: asyncio.SubprocessTransport

    def __init__(self, output_limit_bytes: int) -> None:
        self.ended = asyncio.Event()
        self._outputs = {1: CappedOutput(output_limit_bytes), 2: CappedOutput(output_limit_bytes)}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._outputs[fd].feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def result(self) -> CommandResult:
        status = self.transport.get_returncode()
        assert status is not None
        out, err = self._outputs[1], self._outputs[2]
        return CommandResult(
            exit_status=status if status >= 0 else None,
            signal=None if status >= 0 else signal.Signals(-status).name.removeprefix("SIG"),
            stdout=out.text(),
            stderr=err.text(),
            truncated=out.truncated or err.truncated,
        )


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Connect
) -> None:
    try:
        far_reader, far_writer = await connect()
    except OSError:
        writer.close()
        return
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, far_writer), name="relay out")
            group.create_task(_copy(far_reader, writer), name="relay in")
    finally:
        far_writer.close()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()
