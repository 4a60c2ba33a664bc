"""Demo and test hosts: one SSH server per host on loopback, running as the current user.

They use OpenSSH's sshd if it is installed and accepts a login, else an asyncssh server in a child
process. Root is not required. All files are in one temporary directory, which is removed at the
end.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import random
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import asyncssh

from dagengine.errors import DagengineError
from tasks.demo import messages
from tasks.demo.reaper import ProcessReaper

LOOPBACK = "127.0.0.1"
OPENSSH = "OpenSSH sshd"
ASYNCSSH = "asyncssh server"
_FIRST_PORT = 12_000
_PORTS_PER_PROCESS = 1_000
_PROCESSES = 20
_ports = (
    _FIRST_PORT + os.getpid() % _PROCESSES * _PORTS_PER_PROCESS + number % _PORTS_PER_PROCESS
    for number in itertools.count(random.randrange(_PORTS_PER_PROCESS))  # noqa: S311  # not a secret
)
_READY_BOUND_S = 15.0
_POLL_S = 0.02

# HOME: a login shell with slow start-up files (version managers, for example) makes every command
# many times slower, and the demo must not depend on the user's files. TMPDIR: makes files that a
# command leaves behind visible.
_SSHD_CONFIG = """\
ListenAddress {ip}:{port}
HostKey "{directory}/host_key"
AuthorizedKeysFile "{directory}/authorized_keys"
PidFile none
UsePAM no
SetEnv HOME={directory} TMPDIR={directory}/tmp
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
PrintMotd no
PrintLastLog no
"""


@dataclass(frozen=True, slots=True)
class DemoHost:
    """One host.

    Attributes:
        directory: the host's own directory, for its keys and its servers.
        ip, port: address of its SSH server.
        user, key_file, known_hosts: login settings for a client.
        pid: of the SSH server's first process.
    """

    directory: Path
    ip: str
    port: int
    user: str
    key_file: Path
    known_hosts: Path
    pid: int


class DemoHostError(DagengineError):
    """Raised when an SSH server does not come up."""


class DemoHosts:
    """A set of hosts; `async with DemoHosts(3) as hosts` starts and removes them.

    Attributes:
        kind: `OPENSSH` or `ASYNCSSH`.
        notice: why OpenSSH was tried and is not used; empty otherwise.
        hosts: the hosts, in order.
        is_removed: whether no process or file of the hosts is left.
    """

    def __init__(self, count: int, *, kind: str | None = None) -> None:
        """
        Args:
            count: number of hosts.
            kind: SSH server to use; None for OpenSSH if it works, else asyncssh.
        """
        self._count = count
        self._requested_kind = kind
        self.kind = kind or OPENSSH
        self.notice = ""
        self.hosts: tuple[DemoHost, ...] = ()
        self.is_removed = True
        self._children: list[asyncio.subprocess.Process] = []

    @property
    def guard(self) -> ProcessReaper:
        """Reaper of the processes on the hosts; register with it the processes started there."""
        return self._guard

    @property
    def directory(self) -> Path:
        """Directory of all files, removed at the end."""
        return self._guard.directory

    async def __aenter__(self) -> DemoHosts:
        self._guard = ProcessReaper("dagengine-demo-")
        self.is_removed = False
        try:
            self._make_client_key()
            self.hosts = tuple(await self._start_all())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        # Close in a thread, so that the event loop can reap the children at the same time.
        closing = asyncio.create_task(asyncio.to_thread(self._guard.close), name="close hosts")
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait([closing])
            except asyncio.CancelledError as error:
                cancelled = error
        for child in self._children:
            await child.wait()
        if closing.exception() is None:
            self.is_removed = closing.result()
        if cancelled is not None:
            raise cancelled
        closing.result()

    async def _start_all(self) -> Sequence[DemoHost]:
        if self._requested_kind is None:
            try:
                first = await self._start(0, OPENSSH)
                await _log_in(first)
            except (DemoHostError, OSError, asyncssh.Error) as error:
                self.kind, self.notice = (
                    ASYNCSSH,
                    messages.OPENSSH_UNUSED(server=OPENSSH, reason=error),
                )
            else:
                return [first, *[await self._start(n, OPENSSH) for n in range(1, self._count)]]
        return [await self._start(number, self.kind) for number in range(self._count)]

    def _make_client_key(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(self.directory / "client_key"))
        (self.directory / "client_key").chmod(0o600)
        key.write_public_key(str(self.directory / "client_key.pub"))
        (self.directory / "known_hosts").touch()

    async def _start(self, number: int, kind: str) -> DemoHost:
        directory = self.directory / f"host{number + 1}"
        (directory / "tmp").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.directory / "client_key.pub", directory / "authorized_keys")
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        host_key.write_private_key(str(directory / "host_key"))
        (directory / "host_key").chmod(0o600)
        port = free_port()
        with (self.directory / "known_hosts").open("ab") as known_hosts:
            known_hosts.write(f"[{LOOPBACK}]:{port} ".encode() + host_key.export_public_key())
        pid = await self._run_server(_command(kind, directory, port), directory, port)
        return DemoHost(
            directory=directory,
            ip=LOOPBACK,
            port=port,
            user=_user_name(),
            key_file=self.directory / "client_key",
            known_hosts=self.directory / "known_hosts",
            pid=pid,
        )

    async def _run_server(self, command: Sequence[str], directory: Path, port: int) -> int:
        log = directory / "sshd.log"
        with log.open("wb") as stderr:
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self._guard.watch_process(child.pid)
        self._children.append(child)
        try:
            async with asyncio.timeout(_READY_BOUND_S):
                while not await _greets(port):
                    if child.returncode is not None:
                        raise DemoHostError(
                            messages.SERVER_ENDED(program=command[0], reason=_last_line(log))
                        )
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DemoHostError(
                messages.SERVER_SILENT(program=command[0], reason=_last_line(log))
            ) from None
        return child.pid


def free_port() -> int:
    """Return a TCP port on loopback that is currently unused; within 1,000 calls, none twice.

    It is below the kernel's range for outgoing connections, from which a port could be taken
    before a server listens on it, or between its stop and its next start. Processes with successive
    ids take their ports from different parts of that range.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def _command(kind: str, directory: Path, port: int) -> Sequence[str]:
    if kind == ASYNCSSH:
        server = Path(__file__).with_name("asyncssh_server.py")
        return [sys.executable, "-P", str(server), str(directory), str(port)]
    # sshd must be called by its absolute path.
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        raise DemoHostError(messages.NOT_INSTALLED())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = directory / "sshd_config"
    config.write_text(_SSHD_CONFIG.format(ip=LOOPBACK, port=port, directory=directory))
    return [str(Path(sshd).absolute()), "-D", "-e", "-f", str(config)]


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), messages.LOG_EMPTY())


async def _greets(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        return (await reader.read(4)) == b"SSH-"
    except OSError:
        return False
    finally:
        writer.close()


async def _log_in(host: DemoHost) -> None:
    """Run a command on the host over SSH.

    Raises:
        asyncssh.Error, OSError: the host does not accept the login or the command.
    """
    async with asyncio.timeout(_READY_BOUND_S):
        async with asyncssh.connect(
            host.ip,
            host.port,
            username=host.user,
            client_keys=[str(host.key_file)],
            known_hosts=str(host.known_hosts),
            config=None,
            agent_path=None,
        ) as connection:
            await connection.run("exec true", check=True)
