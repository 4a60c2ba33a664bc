"""One contract, four runners: this machine, OpenSSH's sshd, through sudo, the asyncssh server."""

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

from dagengine.errors import CommandTimedOut
from dagengine.remote.command import Command, Secret, script
from dagengine.remote.runner import CommandResult, Runner
from dagengine.testing import LocalRunner
from tasks.demo.hosts import OPENSSH, DemoHosts, free_port
from tests.leftovers import assert_nothing_left

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
    """The hosts behind the runner; None for this machine."""
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
    """Who logs in and who runs the commands, where that is not whoever runs the tests."""
    if "sudo" not in request.node.callspec.params.values():
        return {}
    users = request.getfixturevalue("sudo_users")
    return {"user": users.login, "sudo": users.owner}


@pytest_asyncio.fixture
async def runner(hosts, users, ssh_pool, address_of) -> AsyncIterator[Runner]:
    """A runner; nothing of what a test ran may be left on its host."""
    if hosts is None:
        yield LocalRunner()
        return
    yield ssh_pool.runner(address_of(hosts.hosts[0], **users))
    await assert_nothing_left(hosts)


@pytest.fixture
def fifo() -> Iterator[Path]:
    """Where a command can say something, whoever it runs as."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "said")


async def test_a_non_zero_exit_status_is_a_result(runner):
    result = await runner.run(script("echo out; echo err >&2; exit 3", "t"), timeout_s=10)
    assert result == CommandResult(3, None, "out\n", "err\n")


async def test_a_missing_program_is_exit_status_127(runner):
    result = await runner.run(Command(("no-such-program", "x")), timeout_s=10)
    assert result.exit_status == 127
    assert "no-such-program" in result.stderr


@pytest.mark.parametrize("name", ["TERM", "KILL", "ABRT"])
async def test_the_signal_that_ended_a_command_is_named(runner, name):
    result = await runner.run(script("ulimit -c 0; kill -s $1 $$", "t", name), timeout_s=10)
    assert (result.exit_status, result.signal) == (None, name)


async def test_stdin_arrives_whole_and_ends(runner):
    text = "ü\n" * 100_000
    result = await runner.run(script("md5sum; wc -c", "t", stdin=Secret(text)), timeout_s=10)
    expected = await LocalRunner().run(script("md5sum; wc -c", "t", stdin=text), timeout_s=10)
    assert result.stdout == expected.stdout


async def test_without_stdin_a_reader_sees_the_end_at_once(runner):
    result = await runner.run(Command(("cat",)), timeout_s=10)
    assert result == CommandResult(0, None, "", "")


async def test_a_command_that_never_reads_its_stdin_still_ends(runner):
    result = await runner.run(Command(("true",), stdin="x" * 1_000_000), timeout_s=10)
    assert result.exit_status == 0


async def test_arguments_arrive_exactly(runner):
    result = await runner.run(Command(("printf", "%s\\037", *ODD)), timeout_s=10)
    assert tuple(result.stdout.split("\x1f")[:-1]) == ODD


async def test_arguments_of_a_script_arrive_exactly(runner):
    result = await runner.run(
        script('printf "%s\\037" "$0" "$@"', "name", *ODD[:-1], Secret(ODD[-1])), timeout_s=10
    )
    assert tuple(result.stdout.split("\x1f")[:-1]) == ("name", *ODD)


async def test_a_nul_in_an_argument_is_refused_before_anything_runs(runner):
    with pytest.raises(ValueError, match="NUL"):
        await runner.run(Command(("echo", "a\0b")), timeout_s=10)


async def test_bytes_that_are_not_utf_8_are_replaced(runner):
    result = await runner.run(Command(("printf", "a\\377b")), timeout_s=10)
    assert result.stdout == "a\ufffdb"


async def test_output_over_the_cap_is_cut_and_the_command_still_ends(runner):
    writes = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 7"
    result = await runner.run(script(writes, "t"), timeout_s=20)
    assert result.exit_status == 7
    assert (len(result.stdout), len(result.stderr)) == (1024 * 1024, 1024 * 1024)
    assert result.truncated


async def test_a_command_leads_a_session_of_its_own_and_has_no_terminal(runner):
    fields = "cut -d' ' -f1,5,6,7 /proc/self/stat"
    result = await runner.run(script(f"echo $$; exec {fields}", "t"), timeout_s=10)
    shell, line = result.stdout.splitlines()
    pid, group, session, terminal = line.split()
    assert pid == group == session == shell
    assert terminal == "0"


async def test_a_background_process_without_our_pipes_does_not_hold_the_command(runner, fifo):
    async with said(fifo) as heard:
        starts = 'setsid sh -c \'sleep 1000 & echo $! >"$0"\' "$1" </dev/null >/dev/null 2>&1 &'
        result = await runner.run(script(starts, "t", str(fifo)), timeout_s=10)
        assert result.exit_status == 0
        background = psutil.Process(int(await heard()))
        background.kill()


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
async def test_a_timeout_ends_the_whole_group_and_proves_it(runner, fifo, trap):
    async with said(fifo) as heard:
        with pytest.raises(CommandTimedOut, match=r"busy.* ran longer than 0\.8 s") as raised:
            await runner.run(group_that_stays(fifo, trap), timeout_s=0.8)
        assert raised.value.confirmed_ended
        assert alive_in_group(int(await heard())) == []


async def test_a_cancelled_caller_leaves_nothing_behind(runner, fifo):
    async with said(fifo) as heard:
        running = asyncio.create_task(
            runner.run(group_that_stays(fifo), timeout_s=60), name="running"
        )
        group = int(await heard())
        assert alive_in_group(group) != []
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert alive_in_group(group) == []


async def test_a_second_cancel_does_not_cut_the_clean_up_short(runner, fifo):
    async with said(fifo) as heard:
        running = asyncio.create_task(
            runner.run(group_that_stays(fifo, "trap '' TERM;"), timeout_s=60),
            name="running",
        )
        group = int(await heard())
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert alive_in_group(group) == []


async def test_a_runner_serves_again_after_a_timeout(runner):
    await runner.run(Command(("true",)), timeout_s=30)  # logs in: the time is for the command alone
    with pytest.raises(CommandTimedOut):
        await runner.run(Command(("sleep", "1000")), timeout_s=2)
    result = await runner.run(Command(("echo", "here")), timeout_s=30)
    assert result.stdout == "here\n"


async def test_more_commands_than_sessions_at_once_all_get_their_own_answer(runner):
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(runner.run(Command(("echo", str(n))), timeout_s=20), name=f"echo {n}")
            for n in range(25)
        ]
    assert [task.result().stdout for task in running] == [f"{n}\n" for n in range(25)]


async def test_a_tunnel_carries_both_ways_and_is_gone_afterwards(runner):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with runner.tunnel("127.0.0.1", port) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert len(bytes(path)) < 100
            assert await ask(path, b"hello") == b"HELLO"
            assert await ask(path, b"again") == b"AGAIN"
    assert not path.parent.exists()


async def test_a_tunnel_to_a_closed_port_shows_as_a_connection_closed_at_once(runner):
    async with runner.tunnel("127.0.0.1", free_port()) as path:
        assert await ask(path, b"") == b""


async def test_a_tunnel_with_an_open_connection_can_be_left(runner):
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
    """A unix socket that each user of this machine can reach; it answers in capitals."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "sql.sock")
        async with await asyncio.start_unix_server(answer, path):
            path.chmod(0o666)
            yield path


async def test_tunnel_to_socket_carries_both_ways_and_ends(runner, socket_of_host):
    async with runner.tunnel_to_socket(str(socket_of_host)) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert await ask(path, b"hello") == b"HELLO"
        assert await ask(path, b"again") == b"AGAIN"
    assert not path.parent.exists()


async def test_tunnel_to_socket_of_107_bytes_is_open(runner, socket_of_host):
    directory = Path(f"{socket_of_host.parent}/")
    longest = directory / ("x" * (107 - len(bytes(directory)) - 1))
    assert len(bytes(longest)) == 107
    longest.symlink_to(socket_of_host)
    async with runner.tunnel_to_socket(str(longest)) as path:
        assert await ask(path, b"hello") == b"HELLO"


@pytest.mark.parametrize("what", ["missing", "stale", "a file"])
async def test_tunnel_to_socket_unusable_is_closed_at_once(runner, socket_of_host, what):
    far = socket_of_host.with_name("other")
    if what == "stale":
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(far))
        left.close()
    elif what == "a file":
        far.touch()
    async with runner.tunnel_to_socket(str(far)) as path:
        assert await ask(path, b"") == b""


async def test_tunnel_to_socket_connects_as_the_login_user(runner, hosts, socket_of_host):
    """The mode of a socket keeps other users out, also a login that commands leave by sudo."""
    socket_of_host.chmod(0o600)
    may_connect = runner.address.sudo is None or hosts is None
    async with runner.tunnel_to_socket(str(socket_of_host)) as path:
        assert await ask(path, b"hello") == (b"HELLO" if may_connect else b"")


def group_that_stays(fifo: Path, trap: str = "") -> Command:
    """A shell with two children, all in one group, which tells its group through the fifo."""
    return script(
        f'{trap} sleep 1000 & sleep 1000 & echo $$ >"$1"; wait; sleep 1000', "busy", str(fifo)
    )


def alive_in_group(group: int) -> list[int]:
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@asynccontextmanager
async def said(fifo: Path) -> AsyncIterator:
    """Gives a function that waits for the line which a command writes to a fifo."""
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    handle = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, readable.set)

    async def heard() -> str:
        async with asyncio.timeout(10):
            await readable.wait()
        return os.read(handle, 100).decode()

    try:
        yield heard
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


async def ask(path: Path, question: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(10):
            writer.write(question)
            writer.write_eof()
            return await reader.read()
    except (BrokenPipeError, ConnectionResetError):
        return b""
    finally:
        writer.close()
