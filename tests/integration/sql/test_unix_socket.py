"""Access through the unix socket of a server, with the real sshd."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.errors import ForwardingProhibited
from dagengine.remote import CommandResult, HostAddress, LineStream, Runner
from dagengine.remote.command import Command
from dagengine.remote.ssh.pool import SshPool
from dagengine.testing import eventually
from tasks.cluster.root_password import RootLogins
from tasks.cluster.servers import Server
from tasks.demo.cluster import START_OPTIONS, find_seekdb
from tasks.demo.hosts import DemoHosts, free_port
from tasks.demo.reaper import ProcessReaper
from tasks.sql.access import SqlPeerRefused, open_sql
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, query_version
from tests.conftest import AddressOf
from tests.support.factories import make_server
from tests.support.hostile_cluster import NOBODY
from tests.support.sql_listener import FRIENDLY, ListenerProcess, Recording
from tests.support.sshd import MISSING, SshLab, open_lab
from tests.support.sudo_users import SudoUsers

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

PASSWORD = "S3cret-pw"
BOOT_S = 90.0
SOCKET, PORT = "socket", "port"


class RouteRunner:
    """Notes which tunnels are opened through a runner."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.routes: list[str] = []

    @property
    def address(self) -> HostAddress:
        return self._runner.address

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        return await self._runner.run(command, timeout_s=timeout_s)

    def stream(
        self, command: Command, *, timeout_s: float
    ) -> AbstractAsyncContextManager[LineStream]:
        return self._runner.stream(command, timeout_s=timeout_s)

    def tunnel(self, host: str, port: int) -> AbstractAsyncContextManager[Path]:
        self.routes.append(PORT)
        return self._runner.tunnel(host, port)

    async def ensure_forwarding(self, host: str, port: int) -> None:
        await self._runner.ensure_forwarding(host, port)

    def tunnel_to_socket(self, path: str) -> AbstractAsyncContextManager[Path]:
        self.routes.append(SOCKET)
        return self._runner.tunnel_to_socket(path)


class Home:
    """A home with a server that listens on its port and on its unix socket."""

    def __init__(self, home: Path, uid: int | None = None) -> None:
        self.path = home
        for part in ("bin", "run"):
            (home / part).mkdir(parents=True)
        if uid is not None:
            for part in (home, home / "run"):
                os.chown(part, uid, uid)
        self.server = make_server(home=str(home), sql_port=free_port())
        self.process = ListenerProcess(home / "bin/seekdb", home, uid=uid)
        self.process.listen(FRIENDLY, self.server.sql_port)
        if len(bytes(self.socket)) <= 107:
            self.process.listen_at(self.socket)

    @property
    def socket(self) -> Path:
        return self.path / "run/sql.sock"


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[SshLab]:
    async with open_lab(tmp_path) as lab:
        yield lab


MakeHome = Callable[..., Home]


@pytest.fixture
def make_home() -> Iterator[MakeHome]:
    homes: list[Home] = []
    with tempfile.TemporaryDirectory(prefix="home-") as directory:
        Path(directory).chmod(0o755)

        def make(name: str = "home", uid: int | None = None) -> Home:
            homes.append(Home(Path(directory, name), uid))
            return homes[-1]

        yield make
        for home in homes:
            home.process.end()


async def runner_at(lab: SshLab, pool: SshPool, *lines: str) -> RouteRunner:
    """A runner for an sshd with these lines in its configuration."""
    host, key = await lab.sshd(*lines), await lab.key("key")
    lab.let_in(key, host)
    return RouteRunner(pool.runner(lab.address(host, key_file=key)))


async def log_in(server: Server, runner: RouteRunner, password: str = PASSWORD) -> str:
    server = replace(server, address=runner.address)
    async with open_sql(server, runner, password, logins=RootLogins()) as connection:
        return await query_version(connection)


@pytest.mark.parametrize(
    ("lines", "routes"),
    [
        ((), [SOCKET]),
        (("AllowStreamLocalForwarding no",), [SOCKET, PORT]),
        (("AllowStreamLocalForwarding remote",), [SOCKET, PORT]),
    ],
)
async def test_socket_is_preferred_where_sshd_forwards(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome, lines: tuple[str, ...], routes: list[str]
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool, *lines)
    assert await log_in(home.server, runner) == "1"
    assert runner.routes == routes
    logins = [part for part in home.process.take_recording().connections if part]
    assert len(logins) == 1


@pytest.mark.parametrize("line", ["DisableForwarding yes", "AllowTcpForwarding no"])
async def test_login_without_any_route_is_prohibited(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome, line: str
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool, line)
    with pytest.raises(ForwardingProhibited) as caught:
        await log_in(home.server, runner)
    assert line.split(maxsplit=1)[0] in caught.value.remedy
    assert home.process.take_recording() == Recording(())


@pytest.mark.parametrize("part", [".", "run"])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
async def test_socket_replaceable_by_others_is_not_used(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome, part: str, mode: int
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool)
    (home.path / part).chmod(mode)
    assert await log_in(home.server, runner) == "1"
    assert runner.routes == [PORT]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("part", [".", "run"])
async def test_socket_in_directory_of_other_user_is_not_used(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome, part: str
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool)
    os.chown(home.path / part, NOBODY, NOBODY)
    assert await log_in(home.server, runner) == "1"
    assert runner.routes == [PORT]


async def test_socket_behind_symlink_is_judged_by_its_target(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool)
    moved = home.path.parent / "run-elsewhere"
    (home.path / "run").rename(moved)
    (home.path / "run").symlink_to(moved)
    moved.chmod(0o777)
    assert await log_in(home.server, runner) == "1"
    assert runner.routes == [PORT]


async def test_socket_path_too_long_is_not_used(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome
) -> None:
    home, runner = make_home("h" * 100), await runner_at(lab, ssh_pool)
    assert await log_in(home.server, runner) == "1"
    assert runner.routes == [PORT]


async def test_stale_socket_falls_back_to_port(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool)
    home.process.close_port()
    home.process.listen(FRIENDLY, home.server.sql_port)
    assert await log_in(home.server, runner) == "1"
    assert runner.routes == [SOCKET, PORT]


async def test_stale_socket_and_foreign_port_are_refused(
    lab: SshLab, ssh_pool: SshPool, make_home: MakeHome, tmp_path: Path
) -> None:
    home, runner = make_home(), await runner_at(lab, ssh_pool)
    home.process.close_port()
    attacker = ListenerProcess(None, tmp_path)
    try:
        attacker.listen("clear by switch", home.server.sql_port)
        with pytest.raises(SqlPeerRefused, match=f"pid {attacker.pid}"):
            await log_in(home.server, runner)
        assert attacker.take_recording() == Recording(())
    finally:
        attacker.end()


@pytest.mark.root
async def test_login_by_sudo_uses_port(
    open_hosts: DemoHosts,
    sudo_users: SudoUsers,
    ssh_pool: SshPool,
    address_of: AddressOf,
    make_home: MakeHome,
) -> None:
    """sshd connects as the login user, who cannot open the socket."""
    home = make_home(uid=sudo_users.owner_uid)
    try:
        address = address_of(open_hosts.hosts[0], user=sudo_users.login, sudo=sudo_users.owner)
        runner = RouteRunner(ssh_pool.runner(address))
        assert await log_in(home.server, runner) == "1"
        assert runner.routes == [PORT]
    finally:
        home.process.end()  # the users must not own a process afterwards


@pytest.mark.root
async def test_login_of_another_user_is_refused(
    open_hosts: DemoHosts,
    sudo_users: SudoUsers,
    ssh_pool: SshPool,
    address_of: AddressOf,
    make_home: MakeHome,
) -> None:
    """The login may not see where the server works, so that it cannot identify it."""
    home = make_home(uid=sudo_users.owner_uid)
    try:
        address = address_of(open_hosts.hosts[0], user=sudo_users.login)
        runner = RouteRunner(ssh_pool.runner(address))
        with pytest.raises(SqlPeerRefused, match="could not be examined") as caught:
            await log_in(home.server, runner)
        assert "ssh.sudo" in caught.value.remedy
        assert home.process.take_recording() == Recording(())
    finally:
        home.process.end()


@pytest.mark.root
async def test_port_of_third_user_is_refused_by_its_uid(
    open_hosts: DemoHosts,
    sudo_users: SudoUsers,
    ssh_pool: SshPool,
    address_of: AddressOf,
    make_home: MakeHome,
    tmp_path: Path,
) -> None:
    """The owner of the server does not see which process of another user listens."""
    home = make_home(uid=sudo_users.owner_uid)
    attacker = ListenerProcess(None, tmp_path, uid=NOBODY)
    try:
        home.process.close_port()
        attacker.listen("clear by switch", home.server.sql_port)
        address = address_of(open_hosts.hosts[0], user=sudo_users.login, sudo=sudo_users.owner)
        runner = RouteRunner(ssh_pool.runner(address))
        with pytest.raises(SqlPeerRefused, match=f"a process of uid {NOBODY}"):
            await log_in(home.server, runner)
        assert attacker.take_recording() == Recording(())
    finally:
        attacker.end()
        home.process.end()


# --- the real server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seekdb() -> Iterator[Server]:
    guard = ProcessReaper("dagengine-socket-")
    home, port = guard.directory / "seekdb", free_port()
    (home / "bin").mkdir(parents=True)
    (home / "bin/seekdb").symlink_to(find_seekdb())
    guard.watch_home(home)
    argv = [str(home / "bin/seekdb"), "--base-dir", str(home), "--port", str(port)]
    for name, value in START_OPTIONS.items():
        argv += ["--parameter", f"{name}={value}"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    yield make_server(home=str(home), sql_port=port)
    assert guard.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "routes"), [((), [SOCKET]), (("AllowStreamLocalForwarding no",), [SOCKET, PORT])]
)
async def test_seekdb_accepts_root_by_socket_and_port(
    lab: SshLab, ssh_pool: SshPool, seekdb: Server, lines: tuple[str, ...], routes: list[str]
) -> None:
    runner = await runner_at(lab, ssh_pool, *lines)

    async def lets_in() -> bool:
        runner.routes.clear()
        try:
            return "seekdb" in (await log_in(seekdb, runner, "")).lower()
        except SqlNotReady:
            return False

    await eventually(lets_in, timeout_s=BOOT_S, what="a login to seekdb")
    assert runner.routes == routes
    runner.routes.clear()
    with pytest.raises(SqlPasswordRefused):
        await log_in(seekdb, runner, "wrong")
    assert runner.routes == routes
