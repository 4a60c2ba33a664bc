"""OpenSSH for tests: sshd with any configuration, the agent and the key tools."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dagengine.remote import Command
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.pool import SshPool
from dagengine.testing import eventually
from tasks.demo.hosts import free_port

PROGRAMS = {
    name: shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    for name in ("sshd", "ssh-agent", "ssh-add", "ssh-keygen")
}
MISSING = [name for name, place in PROGRAMS.items() if place is None]

_CONFIG = """\
ListenAddress {ip}:{port}
HostKey "{directory}/host_key"
AuthorizedKeysFile "{directory}/authorized_keys"
PidFile none
UsePAM no
SetEnv HOME={directory}
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel VERBOSE
"""
_READY_BOUND_S = 20.0


@dataclass
class Sshd:
    """One sshd. `lines` precede its configuration, because sshd uses the first value."""

    directory: Path
    ip: str
    port: int
    lines: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        """As in known_hosts."""
        return f"[{self.ip}]:{self.port}"

    @property
    def host_key(self) -> Path:
        return self.directory / "host_key.pub"

    def log(self) -> str:
        return (self.directory / "sshd.log").read_text(errors="replace")

    def logins(self) -> int:
        """Return the number of logins."""
        return self.log().count("Accepted publickey")

    async def start(self) -> None:
        """Start, and wait until it listens."""
        config = self.directory / "sshd_config"
        text = _CONFIG.format(ip=self.ip, port=self.port, directory=self.directory)
        config.write_text("".join(f"{line}\n" for line in self.lines) + text)
        with (self.directory / "sshd.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(PROGRAMS["sshd"]), "-D", "-e", "-f", str(config), stderr=log
            )

        async def is_listening() -> bool:
            assert self.process is not None
            assert self.process.returncode is None, self.log()
            try:
                _, writer = await asyncio.open_connection(self.ip, self.port)
            except OSError:
                return False
            writer.close()
            return True

        await eventually(is_listening, timeout_s=_READY_BOUND_S, what="sshd")

    def sessions(self) -> list[int]:
        """Return the ids of the processes that serve connections."""
        assert self.process is not None
        pids, parents = [], [self.process.pid]
        while parents:
            children = _children(parents.pop())
            pids += children
            parents += children
        return [pid for pid in pids if _is_sshd(pid)]

    def signal(self, number: signal.Signals, *, listener: bool = True) -> None:
        """Signal the processes that serve connections and, by default, the listener."""
        assert self.process is not None
        for pid in [*self.sessions(), *([self.process.pid] if listener else [])]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def stop(self) -> None:
        """End the server and all of its connections."""
        if self.process is not None and self.process.returncode is None:
            self.signal(signal.SIGKILL)
            await self.process.wait()


@dataclass
class SshLab:
    """Creates sshds, keys and agents below one directory, and ends the processes."""

    directory: Path
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    made: list[Sshd] = field(default_factory=list)

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    async def key(self, name: str, *options: str) -> Path:
        """Create a key pair, without a passphrase unless `-N` gives one."""
        file = self.directory / name
        given = options if "-N" in options else ("-N", "", *options)
        await run("ssh-keygen", "-q", "-t", "ed25519", "-f", str(file), *given)
        return file

    async def sshd(self, *lines: str, ip: str = "127.0.0.1", known: bool = True) -> Sshd:
        """A started sshd without authorized keys; `known` puts its key into known_hosts."""
        directory = self.directory / f"sshd{len(self.made) + 1}"
        directory.mkdir()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        options = ("-q", "-t", "ed25519", "-N", "", "-f", str(directory / "host_key"))
        await run("ssh-keygen", *options)
        (directory / "authorized_keys").touch()
        sshd = Sshd(directory, ip, free_port(), lines)
        self.made.append(sshd)
        if known:
            self.trust(sshd)
        self.stack.push_async_callback(sshd.stop)
        await sshd.start()
        return sshd

    def trust(self, sshd: Sshd) -> None:
        with self.known_hosts.open("a") as file:
            file.write(f"{sshd.name} {sshd.host_key.read_text()}")

    def let_in(self, key: Path, *sshds: Sshd) -> None:
        for sshd in sshds:
            with (sshd.directory / "authorized_keys").open("a") as file:
                file.write(Path(f"{key}.pub").read_text())

    async def agent(self, *keys: Path) -> Path:
        """A started agent that holds these keys; returns its socket."""
        socket = self.directory / "agent"
        process = await asyncio.create_subprocess_exec(
            str(PROGRAMS["ssh-agent"]), "-D", "-a", str(socket), stdout=asyncio.subprocess.PIPE
        )
        self.stack.push_async_callback(_end, process)
        assert process.stdout is not None
        await process.stdout.readline()
        for key in keys:
            await run("ssh-add", "-q", str(key), SSH_AUTH_SOCK=str(socket))
        return socket

    def address(self, sshd: Sshd, **fields: object) -> HostAddress:
        given = {
            "host": sshd.ip,
            "port": sshd.port,
            "user": user_name(),
            "known_hosts": self.known_hosts,
        }
        return HostAddress(**(given | fields))  # type: ignore[arg-type]


@asynccontextmanager
async def open_lab(directory: Path) -> AsyncIterator[SshLab]:
    """Open a lab; its processes end with the context."""
    lab = SshLab(directory)
    lab.known_hosts.touch()
    async with lab.stack:
        yield lab


async def run(program: str, *arguments: str, stdin: str = "", **variables: str) -> str:
    """Run a program of OpenSSH; return its output, or raise its error output."""
    process = await asyncio.create_subprocess_exec(
        str(PROGRAMS[program]),
        *arguments,
        env={**os.environ, **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, f"{program}: {err.decode()}"
    return out.decode()


def user_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False


async def echo_hello(pool: SshPool, address: HostAddress) -> str:
    result = await pool.runner(address).run(Command(("echo", "hello")), timeout_s=30)
    return result.stdout
