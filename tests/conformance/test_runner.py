"""One contract, four runners: this machine, OpenSSH's sshd, sudo, and the asyncssh server."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from dagengine.act_guard import guard_this_task
from dagengine.errors import CommandTimedOut
from dagengine.remote.command import Command, Secret, script
from dagengine.remote.runner import CommandResult, Runner
from dagengine.testing import LocalRunner
from tasks.demo.hosts import OPENSSH, DemoHosts, free_port
from tests.support.held_guard import HeldGuard
from tests.support.leftovers import assert_nothing_left

ODD = (
    "a b",
    "",
    "'",
    '"',
    "$HOME",
    "`id`",
    "\\",
    "\n",
    "a\tb",
    "*",
    "~",
    "-n",
    "ü€😀",
    ";&|<>()!#",
)


@pytest.fixture(
    params=["local", "openssh", "asyncssh", pytest.param("sudo", marks=pytest.mark.root)]
)
def hosts(request) -> DemoHosts | None:
    """Return the hosts behind the runner; None for this machine."""
    if request.param == "local":
        return None
    if request.param == "sudo":
        return request.getfixturevalue("open_hosts")
    hosts = request.getfixturevalue("ssh_hosts" if request.param == "openssh" else "asyncssh_hosts")
    if request.param == "openssh" and hosts.kind != OPENSSH:
        pytest.skip(hosts.notice)
    return hosts


@pytest.fixture
def users(request) -> dict[str, str]:
    """Return the login and command users, if they differ from the user that runs the tests."""
    if "sudo" not in request.node.callspec.params.values():
        return {}
    users = request.getfixturevalue("sudo_users")
    return {"user": users.login, "sudo": users.owner}


@pytest_asyncio.fixture
async def runner(hosts, users, ssh_pool, address_of) -> AsyncIterator[Runner]:
    """Yield a runner; check that the commands of the test have ended on its host."""
    if hosts is None:
        yield LocalRunner()
        return
    yield ssh_pool.runner(address_of(hosts.hosts[0], **users))
    await assert_nothing_left(hosts)


@pytest.fixture
def fifo() -> Iterator[Path]:
    """Yield a fifo that commands of any user can write to."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "fifo")


async def test_runner_command_waits_for_act_guard(runner):
    guard = HeldGuard()

    async def run_guarded() -> CommandResult:
        guard_this_task(guard)
        return await runner.run(script("echo done", "t"), timeout_s=10)

    async with asyncio.TaskGroup() as group:
        guarded = group.create_task(run_guarded(), name="guarded")
        await guard.waiting.wait()
        unguarded = await runner.run(script("echo other", "t"), timeout_s=10)
        assert not guarded.done()
        guard.open()
    assert (unguarded.stdout, guarded.result().stdout) == ("other\n", "done\n")


async def test_runner_nonzero_exit_status_is_result(runner):
    result = await runner.run(script("echo out; echo err >&2; exit 3", "t"), timeout_s=10)
    assert result == CommandResult(3, None, "out\n", "err\n")


async def test_runner_missing_program_gives_exit_status_127(runner):
    result = await runner.run(Command(("no-such-program", "x")), timeout_s=10)
    assert result.exit_status == 127
    assert "no-such-program" in result.stderr


@pytest.mark.parametrize("name", ["TERM", "KILL", "ABRT"])
async def test_runner_signal_of_command_is_named(runner, name):
    result = await runner.run(script("ulimit -c 0; kill -s $1 $$", "t", name), timeout_s=10)
    assert (result.exit_status, result.signal) == (None, name)


async def test_runner_stdin_arrives_complete_and_ends(runner):
    text = "ü\n" * 100_000
    result = await runner.run(script("md5sum; wc -c", "t", stdin=Secret(text)), timeout_s=10)
    expected = await LocalRunner().run(script("md5sum; wc -c", "t", stdin=text), timeout_s=10)
    assert result.stdout == expected.stdout


async def test_runner_without_stdin_command_reads_end(runner):
    result = await runner.run(Command(("cat",)), timeout_s=10)
    assert result == CommandResult(0, None, "", "")


async def test_runner_unread_stdin_does_not_block(runner):
    result = await runner.run(Command(("true",), stdin="x" * 1_000_000), timeout_s=10)
    assert result.exit_status == 0


async def test_runner_arguments_arrive_unchanged(runner):
    result = await runner.run(Command(("printf", "%s\\037", *ODD)), timeout_s=10)
    assert tuple(result.stdout.split("\x1f")[:-1]) == ODD


async def test_runner_script_arguments_arrive_unchanged(runner):
    result = await runner.run(
        script('printf "%s\\037" "$0" "$@"', "name", *ODD[:-1], Secret(ODD[-1])), timeout_s=10
    )
    assert tuple(result.stdout.split("\x1f")[:-1]) == ("name", *ODD)


async def test_runner_nul_in_argument_is_refused(runner):
    with pytest.raises(ValueError, match="NUL"):
        await runner.run(Command(("echo", "a\0b")), timeout_s=10)


async def test_runner_invalid_utf_8_is_replaced(runner):
    result = await runner.run(Command(("printf", "a\\377b")), timeout_s=10)
    assert result.stdout == "a\ufffdb"


async def test_runner_output_over_cap_is_truncated(runner):
    writes = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 7"
    result = await runner.run(script(writes, "t"), timeout_s=20)
    assert result.exit_status == 7
    assert (len(result.stdout), len(result.stderr)) == (1024 * 1024, 1024 * 1024)
    assert result.truncated


async def test_runner_command_has_own_session_without_terminal(runner):
    fields = "cut -d' ' -f1,5,6,7 /proc/self/stat"
    result = await runner.run(script(f"echo $$; exec {fields}", "t"), timeout_s=10)
    shell, line = result.stdout.splitlines()
    pid, group, session, terminal = line.split()
    assert pid == group == session == shell
    assert terminal == "0"


async def test_runner_background_process_does_not_block(runner, fifo):
    async with open_fifo(fifo) as read_line:
        starts = 'setsid sh -c \'sleep 1000 & echo $! >"$0"\' "$1" </dev/null >/dev/null 2>&1 &'
        result = await runner.run(script(starts, "t", str(fifo)), timeout_s=10)
        assert result.exit_status == 0
        background = psutil.Process(int(await read_line()))
        background.kill()


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
async def test_runner_timeout_ends_process_group_and_confirms(runner, fifo, trap):
    async with open_fifo(fifo) as read_line:
        with pytest.raises(CommandTimedOut, match=r"busy.* ran longer than 0\.8 s") as raised:
            await runner.run(persistent_group_command(fifo, trap), timeout_s=0.8)
        assert raised.value.confirmed_ended
        assert alive_in_group(int(await read_line())) == []


async def test_runner_cancelled_caller_ends_process_group(runner, fifo):
    async with open_fifo(fifo) as read_line:
        running = asyncio.create_task(
            runner.run(persistent_group_command(fifo), timeout_s=60), name="running"
        )
        group = int(await read_line())
        assert alive_in_group(group) != []
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert alive_in_group(group) == []


async def test_runner_second_cancel_does_not_stop_clean_up(runner, fifo):
    async with open_fifo(fifo) as read_line:
        running = asyncio.create_task(
            runner.run(persistent_group_command(fifo, "trap '' TERM;"), timeout_s=60),
            name="running",
        )
        group = int(await read_line())
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert alive_in_group(group) == []


async def test_runner_after_timeout_runs_next_command(runner):
    await runner.run(Command(("true",)), timeout_s=30)  # log in before the time-out applies
    with pytest.raises(CommandTimedOut):
        await runner.run(Command(("sleep", "1000")), timeout_s=2)
    result = await runner.run(Command(("echo", "here")), timeout_s=30)
    assert result.stdout == "here\n"


async def test_runner_more_commands_than_sessions_all_succeed(runner):
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(runner.run(Command(("echo", str(n))), timeout_s=20), name=f"echo {n}")
            for n in range(25)
        ]
    assert [task.result().stdout for task in running] == [f"{n}\n" for n in range(25)]


async def test_tunnel_carries_both_ways_and_ends(runner):
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with runner.tunnel("127.0.0.1", port) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert len(bytes(path)) < 100
            assert await exchange(path, b"hello") == b"HELLO"
            assert await exchange(path, b"again") == b"AGAIN"
    assert not path.parent.exists()


async def test_tunnel_to_closed_port_is_closed_at_once(runner):
    async with runner.tunnel("127.0.0.1", free_port()) as path:
        assert await exchange(path, b"") == b""


async def test_tunnel_with_open_connection_can_be_closed(runner):
    greeted: list[asyncio.StreamWriter] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(writer)
        writer.write(b"hi")
        await reader.read()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with runner.tunnel("127.0.0.1", port) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.readexactly(2) == b"hi"
        for end in (writer, *greeted):
            end.close()
            await end.wait_closed()


@pytest_asyncio.fixture
async def socket_of_host() -> AsyncIterator[Path]:
    """Serve a unix socket that every user of this machine can reach; it responds in capitals."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "sql.sock")
        async with await asyncio.start_unix_server(respond, path):
            path.chmod(0o666)
            yield path


async def test_tunnel_to_socket_carries_both_ways_and_ends(runner, socket_of_host):
    async with runner.tunnel_to_socket(str(socket_of_host)) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert await exchange(path, b"hello") == b"HELLO"
        assert await exchange(path, b"again") == b"AGAIN"
    assert not path.parent.exists()


async def test_tunnel_to_socket_of_107_bytes_is_open(runner, socket_of_host):
    directory = Path(f"{socket_of_host.parent}/")
    longest = directory / ("x" * (107 - len(bytes(directory)) - 1))
    assert len(bytes(longest)) == 107
    longest.symlink_to(socket_of_host)
    async with runner.tunnel_to_socket(str(longest)) as path:
        assert await exchange(path, b"hello") == b"HELLO"


@pytest.mark.parametrize("path_state", ["missing", "stale", "a file"])
async def test_tunnel_to_socket_unusable_is_closed_at_once(runner, socket_of_host, path_state):
    remote_path = socket_of_host.with_name("other")
    if path_state == "stale":
        stale_socket = socket.socket(socket.AF_UNIX)
        stale_socket.bind(str(remote_path))
        stale_socket.close()
    elif path_state == "a file":
        remote_path.touch()
    async with runner.tunnel_to_socket(str(remote_path)) as path:
        assert await exchange(path, b"") == b""


async def test_tunnel_to_socket_connects_as_login_user(runner, hosts, socket_of_host):
    """The mode of a socket keeps other users out, even if commands use sudo to change the user."""
    socket_of_host.chmod(0o600)
    may_connect = runner.address.sudo is None or hosts is None
    async with runner.tunnel_to_socket(str(socket_of_host)) as path:
        assert await exchange(path, b"hello") == (b"HELLO" if may_connect else b"")


def persistent_group_command(fifo: Path, trap: str = "") -> Command:
    """Return a shell with two children in one process group; it writes its group to the fifo."""
    return script(
        f'{trap} sleep 1000 & sleep 1000 & echo $$ >"$1"; wait; sleep 1000', "busy", str(fifo)
    )


def alive_in_group(group: int) -> list[int]:
    pids = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                pids.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return pids


@asynccontextmanager
async def open_fifo(fifo: Path) -> AsyncIterator:
    """Yield a function that waits for the line that a command writes to a fifo."""
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    handle = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, readable.set)

    async def read_line() -> str:
        async with asyncio.timeout(10):
            await readable.wait()
        return os.read(handle, 100).decode()

    try:
        yield read_line
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


async def exchange(path: Path, payload: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(10):
            writer.write(payload)
            writer.write_eof()
            return await reader.read()
    except (BrokenPipeError, ConnectionResetError):
        return b""
    finally:
        writer.close()


# --- streams ------------------------------------------------------------------------------------

ECHO = script("""echo "ready $1"; while read -r line; do echo "<$line>"; done""", "t", "a b")


async def test_runner_stream_exchanges_lines_with_command(runner):
    async with asyncio.timeout(10), runner.stream(ECHO, timeout_s=10) as stream:
        assert await stream.read_line() == "ready a b"
        for text in ("one", "", "ü"):
            stream.write_line(text)
            assert await stream.read_line() == f"<{text}>"


async def test_runner_stream_of_ended_command_has_no_line(runner):
    command = script("echo last; exit 3", "t")
    async with asyncio.timeout(10), runner.stream(command, timeout_s=10) as stream:
        assert await stream.read_line() == "last"
        assert [await stream.read_line() for _ in range(2)] == [None, None]
        stream.write_line("too late")


async def test_runner_stream_left_context_ends_command(runner):
    async with asyncio.timeout(10), runner.stream(ECHO, timeout_s=10) as stream:
        await stream.read_line()
    # The fixture `runner` checks that nothing is left on the host.
    assert (await runner.run(Command(("true",)), timeout_s=10)).exit_status == 0
