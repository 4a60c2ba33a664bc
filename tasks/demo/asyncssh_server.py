"""A small SSH server for machines without OpenSSH's; `demo_hosts` runs it as a child process.

It matches sshd in the relevant behaviour: a command runs in its own session and process group and
outlives its connection, and its channel closes once no process holds its output open.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncssh

_CHUNK_BYTES = 64 * 1024


class _Server(asyncssh.SSHServer):
    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        """Forward to any port, as `AllowTcpForwarding yes` does."""
        return True

    def unix_connection_requested(self, dest_path: str) -> bool:
        """Forward to any unix socket, as `AllowStreamLocalForwarding yes` does."""
        return True


async def serve(directory: Path, port: int) -> None:
    """Serve on loopback until killed.

    Args:
        directory: contains `host_key` and `authorized_keys`.
        port: port to listen on.
    """
    os.environ |= {"HOME": str(directory), "TMPDIR": str(directory / "tmp")}
    await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=_Server,
        server_host_keys=[str(directory / "host_key")],
        authorized_client_keys=str(directory / "authorized_keys"),
        process_factory=_run_command,
        encoding=None,
        config=None,
        gss_host=None,
    )
    await asyncio.Event().wait()


async def _run_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    if process.command is None:
        process.stderr.write(b"only commands are run here\n")
        process.exit(1)
        return
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        process.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=os.environ["HOME"],
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    giving = asyncio.create_task(_give(process.stdin, child.stdin), name="stdin")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_take(child.stdout, process.stdout), name="stdout")
            group.create_task(_take(child.stderr, process.stderr), name="stderr")
        status = await child.wait()
    finally:
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


async def _give(source: asyncssh.SSHReader[bytes], target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            target.write(data)
            await target.drain()
        target.close()
    except (OSError, asyncssh.Error):
        target.close()


async def _take(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    connected = True
    while data := await source.read(_CHUNK_BYTES):
        try:
            if connected:
                target.write(data)
                await target.drain()
        except (OSError, asyncssh.Error):
            connected = False


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
