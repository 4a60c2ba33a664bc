"""Typical mistakes in a set-up, with the real program: what is wrong, where, and what to do next.

Mistakes in the text of a file or of a command are in tests/unit/cli/test_mistakes.py.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tasks.demo.hosts import free_port
from tests.acceptance.conftest import ClusterTestbed, OpenTestbed, make_testbed, only_owner
from tests.support.sshd import run as run_openssh

SERVER = "127.0.0.1:2886"
VARIABLE = "DAGENGINE_ROOT_PASSWORD"
LIBRARY_TEXTS = ("Traceback", "Errno", "Input should", "asyncssh", "sqlite3", "aiohttp", "<unicode")

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def testbed():
    async with make_testbed(1) as opened:
        await run_openssh(
            *("ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase"),
            *("-f", str(opened.cluster.directory / "locked_key")),
        )
        yield opened


async def run(testbed: ClusterTestbed, *argv: str, **environment: str) -> tuple[int, str]:
    """Run a command in the directory of the cluster; return its exit code and all its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", *argv),
        cwd=testbed.cluster.directory,
        env={**testbed.cluster.environment, "COLUMNS": "400", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


def assert_complete(output: str, testbed: ClusterTestbed, *parts: str) -> None:
    """Assert that the output says what is wrong, where, and what to do next."""
    directory, home = testbed.cluster.directory, testbed.cluster.servers[0].home
    fields = {"dir": directory, "home": home, "port": testbed.cluster.servers[0].sql_port}
    expected = [part.format(**fields) for part in parts]
    assert [part for part in expected if part not in output] == [], output
    assert not any(text in output for text in LIBRARY_TEXTS)


# Applies the mistake; what it opens is closed after the command.
Apply = Callable[[ClusterTestbed, ExitStack], None]


@dataclass(frozen=True)
class Mistake:
    """A mistake, the command that reports it, its exit code, and parts of the message."""

    apply: Apply
    command: str
    code: int
    what: str
    where: str
    remedy: str


def set_ssh(key: str, name: str) -> Apply:
    def apply(testbed: ClusterTestbed, _: ExitStack) -> None:
        testbed.cluster.server_entry(0)["ssh"][key] = str(testbed.cluster.directory / name)
        testbed.cluster.write()

    return apply


def set_home(testbed: ClusterTestbed, _: ExitStack) -> None:
    entry = testbed.cluster.server_entry(0)
    entry["home"] += "-other"
    testbed.cluster.write()


def replace_in_engine(old: str, new: str) -> Apply:
    def apply(testbed: ClusterTestbed, _: ExitStack) -> None:
        file = testbed.cluster.engine_file
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new.format(dir=testbed.cluster.directory)))

    return apply


def empty_password(testbed: ClusterTestbed, stack: ExitStack) -> None:
    stack.callback(setattr, testbed.cluster, "password", testbed.cluster.password)
    testbed.cluster.password = ""


def open_key_to_others(testbed: ClusterTestbed, stack: ExitStack) -> None:
    key = testbed.hosts.hosts[0].key_file
    stack.callback(key.chmod, 0o600)
    key.chmod(0o644)


def take_sql_port(testbed: ClusterTestbed, stack: ExitStack) -> None:
    port = testbed.cluster.servers[0].sql_port
    stack.enter_context(socket.create_server(("127.0.0.1", port)))


def take_api_port(testbed: ClusterTestbed, stack: ExitStack) -> None:
    port = int(testbed.cluster.url.rpartition(":")[2])
    stack.enter_context(socket.create_server(("127.0.0.1", port)))


def remove_engine_file(testbed: ClusterTestbed, _: ExitStack) -> None:
    testbed.cluster.engine_file.unlink()


DOCTOR, SERVE = "doctor -c engine.yaml", "serve -c engine.yaml"
CREATABLE = "set store.path to a file in a directory that this user can create"
EMPTY = (f"names the variable {VARIABLE}, which is empty", "{dir}/cluster.yaml", f"set {VARIABLE}")
NO_ENGINE_FILE = ("no engine file was named", "{dir}/engine.yaml", "name it with -c FILE")
MISTAKES = {
    "password variable, doctor": Mistake(empty_password, DOCTOR, 1, *EMPTY),
    "password variable, serve": Mistake(empty_password, SERVE, 2, *EMPTY),
    "key that others can read": Mistake(
        *(open_key_to_others, DOCTOR, 0),
        *("other users may read it: mode 0644", "{dir}/client_key", "chmod 600 {dir}/client_key"),
    ),
    "key with a passphrase": Mistake(
        *(set_ssh("key_file", "locked_key"), DOCTOR, 1),
        *("is locked with a passphrase", "{dir}/locked_key", "ssh.key_passphrase_env"),
    ),
    "key missing": Mistake(
        *(set_ssh("key_file", "missing_key"), DOCTOR, 1),
        *("cannot be read", "{dir}/missing_key", "or name another one in ssh.key_file"),
    ),
    "home missing": Mistake(
        *(set_home, DOCTOR, 1),
        *("does not exist", "{home}-other", "create it with the program in its bin/, or correct"),
    ),
    "known_hosts missing": Mistake(
        *(set_ssh("known_hosts", "missing_hosts"), DOCTOR, 1),
        *("the file does not exist", "{dir}/missing_hosts", "dagengine hosts trust -c"),
    ),
    "known_hosts missing, trust": Mistake(
        *(set_ssh("known_hosts", "new_hosts"), "hosts trust --yes", 0),
        *("pinned ssh-ed25519", "{dir}/new_hosts: created", "1 pinned"),
    ),
    "SQL port taken": Mistake(
        *(take_sql_port, DOCTOR, 1),
        *("port {port} is taken by another program", SERVER, "or set another sql_port"),
    ),
    "API port taken": Mistake(
        *(take_api_port, SERVE, 2),
        *("Address already in use by pid", "cannot listen on http://127.0.0.1:", "api.port"),
    ),
    "store in a file system without files": Mistake(
        *(replace_in_engine("var/dagengine.sqlite", "/proc/x/store.sqlite"), SERVE, 2),
        *("cannot create", "/proc/x", CREATABLE),
    ),
    "store below a file": Mistake(
        *(replace_in_engine("var/dagengine.sqlite", "{dir}/locked_key/store.sqlite"), SERVE, 2),
        *("cannot create", "{dir}/locked_key", CREATABLE),
    ),
    "store below a file, doctor": Mistake(
        *(replace_in_engine("var/dagengine.sqlite", "{dir}/locked_key/store.sqlite"), DOCTOR, 1),
        *("may not create it in", "{dir}/locked_key", "let this user write there, or name"),
    ),
    "host 0.0.0.0": Mistake(
        *(replace_in_engine("127.0.0.1", "0.0.0.0"), SERVE, 2),  # is refused
        *("cannot be part of an id", "engine.yaml, line ", "set advertise"),
    ),
    "cluster file missing": Mistake(
        *(replace_in_engine("cluster.yaml", "none.yaml"), SERVE, 2),
        *("No such file or directory", "{dir}/none.yaml", "correct `cluster` in the engine file"),
    ),
    "no engine file, serve": Mistake(remove_engine_file, "serve", 2, *NO_ENGINE_FILE),
    "no engine file, doctor": Mistake(remove_engine_file, "doctor", 2, *NO_ENGINE_FILE),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_mistake_in_set_up_says_what_where_and_next(
    testbed: ClusterTestbed, name: str
) -> None:
    mistake = MISTAKES[name]
    entry = testbed.cluster.server_entry(0)
    before = entry | {"ssh": {**entry["ssh"]}}
    with ExitStack() as stack:
        stack.callback(testbed.cluster.write)
        stack.callback(entry.update, before)
        mistake.apply(testbed, stack)
        code, output = await run(testbed, *mistake.command.split())
    assert_complete(output, testbed, mistake.what, mistake.where, mistake.remedy)
    assert code == mistake.code


def write_second_engine_file(testbed: ClusterTestbed) -> None:
    """Write an engine file with the same store and another port."""
    text = testbed.cluster.engine_file.read_text()
    port = testbed.cluster.url.rpartition(":")[2]
    (testbed.cluster.directory / "second.yaml").write_text(text.replace(port, str(free_port())))


def break_cluster_file(testbed: ClusterTestbed) -> None:
    file = Path(testbed.cluster.directory / "cluster.yaml")
    file.write_text(file.read_text().replace("flavour: seekdb", "flavour: seekbd"))


BROKEN = (
    "cluster.yaml is refused",
    "{dir}/cluster.yaml, line",
    "write 'seekdb' or 'oceanbase'); the version of ",
)
Row = tuple[str, dict[str, str], int, tuple[str, str, str]]
# The command, changes of its environment, exit code; what is wrong, where, and what to do next.
# They run against one controller; the last ones break its cluster file.
WITH_CONTROLLER: tuple[Row, ...] = (
    ("serve -c engine.yaml", {}, 2, ("in use by pid {pid} (", "cannot listen on", "api.port")),
    ("serve -c second.yaml", {}, 2, ("in use by pid {pid}", "var/dagengine.sqlite", "stop that")),
    (
        *("status", {"DAGENGINE_PASSWORD": "wrong"}, 4),
        ("OceanBase password is incorrect", "dagengine: ", "set DAGENGINE_PASSWORD to"),
    ),
    (
        *("doctor -c engine.yaml", {VARIABLE: "wrong"}, 1),
        ("refuses the password of root", SERVER, f"correct the password of root@sys in {VARIABLE}"),
    ),
    (
        *("retry 29999999999999999", {}, 2),
        ("Invalid ID", "29999999999999999", "see the ids with `dagengine list`"),
    ),
    ("start --zone zz", {}, 2, ("does not exist", "Zone 'zz'", "the cluster has zone1")),
    ("start --skip-check zz", {}, 2, ("does not exist", "the check 'zz'", "known: ")),
    (
        *("stop --dry-run", {}, 2),
        ("cannot be taken out of service", "the whole cluster", "--terminate (data is written"),
    ),
    ("status", {"BREAK": "1"}, 0, BROKEN),
    ("start --dry-run", {}, 0, BROKEN),
)


@only_owner
async def test_mistakes_with_controller_say_what_where_and_next(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        write_second_engine_file(testbed)
        await testbed.start_controller()
        code, output = await run(testbed, "start")
        assert code == 0, output
        for command, environment, expected, parts in WITH_CONTROLLER:
            if "BREAK" in environment:
                break_cluster_file(testbed)
            code, output = await run(testbed, *command.split(), **environment)
            texts = [part.replace("{pid}", str(testbed.pid)) for part in parts]
            assert_complete(output, testbed, *texts)
            assert (command, code) == (command, expected)
