"""Fixtures that several folders share: hosts to log in to."""

from __future__ import annotations

import io
import logging
import re
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any, Protocol

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadscope import LoadScopeScheduling

from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import PROCESS_TIME, SystemClock
from dagengine.runtime.logging import configure_logs
from dagengine.testing import eventually
from tasks.demo.hosts import ASYNCSSH, OPENSSH, DemoHost, DemoHosts
from tests.support.accessibility import load_axe
from tests.support.store_databases import StoreDatabase, run_mariadb, run_seekdb
from tests.support.strict_decoder import find_missing_routes, render_counts, sum_counts
from tests.support.sudo_users import RULE, SudoUsers, make_users, skip_reason

_STORE_CASE = re.compile(r"tests/conformance/test_store\w*\.py::.*\[(sqlite|crashing|mysql-\w+)\b")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background processes with SIGINT ignored, and programs that tests start inherit
    # this: Ctrl-C would not reach them.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "fixed",
    deadline=None,  # a time limit per example fails when the machine is busy
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.register_profile("random", settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")

MAX_RERUNS = 2
"""Tests of one run that may pass only when they run again."""

_GROUPS = {
    "sources": r"tests/architecture/",  # each process would parse all files
    "seekdb": r"tests/conformance/.*mysql-seekdb|tests/integration/(store|ownership)/"
    r"|tests/integration/(server/test_(shared|service)|cli/test_store)_",
    "sdk": r"tests/acceptance/test_sdk\.py",
}
"""Tests that share something costly, by a pattern of their ids."""

_BY_FILE = re.compile(r"tests/(unit|conformance)/")
"""Many short tests: handing them out one by one takes longer than some of them."""


class GroupScheduling(LoadScopeScheduling):
    """Gives the tests of a group to one process, so that it is made only once."""

    def _split_scope(self, nodeid: str) -> str:
        group = next((name for name, ids in _GROUPS.items() if re.match(ids, nodeid)), None)
        file = nodeid.partition("::")[0] if _BY_FILE.match(nodeid) else nodeid
        return group or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    """Group tests for `--dist loadgroup`. Its marks have no effect with pytest 9.2, xdist 3.8."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let pytest-rerunfailures send at once; its two messages per test would take 40 ms."""
    database = getattr(session.config, "failures_db", None)
    if (connection := getattr(database, "sock", None)) is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.fixture(scope="session", autouse=True)
def without_pauses() -> Iterator[None]:
    """Name no pause of this process in errors: a pause of the machine would change their texts.

    Tests of pauses have a process, or a `ProcessTime`, of their own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PROCESS_TIME, "paused_s", lambda since_s: 0.0)
        yield


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    return load_axe(tmp_path_factory.mktemp("axe"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ssh_hosts() -> AsyncIterator[DemoHosts]:
    """Three hosts with a real sshd if there is one. Shared: leave them unchanged."""
    async with DemoHosts(3) as hosts:
        yield hosts


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asyncssh_hosts() -> AsyncIterator[DemoHosts]:
    """One host behind the asyncssh server for machines without sshd. Shared: leave it unchanged."""
    async with DemoHosts(1, kind=ASYNCSSH) as hosts:
        yield hosts


@pytest.fixture
def ssh_host(ssh_hosts: DemoHosts) -> DemoHost:
    """The first of the shared hosts."""
    return ssh_hosts.hosts[0]


@pytest_asyncio.fixture
async def own_ssh_host() -> AsyncIterator[DemoHost]:
    """A host for one test, which may change it."""
    async with DemoHosts(1) as hosts:
        yield hosts.hosts[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the failures of tests that ran again, and what passed and was decoded how often."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"ran again: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    passed = terminalreporter.stats.get("passed", [])
    counts = Counter(
        match[1] for report in passed if (match := _STORE_CASE.match(report.nodeid)) is not None
    )
    if counts:
        text = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
        terminalreporter.write_line(f"store conformance: {text}")
    if decoded := sum_counts(_reports_of(terminalreporter)):
        terminalreporter.section("responses that a strict client decoded")
        for line in render_counts(decoded):
            terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which many tests ran again, or in which a route had no response."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a process of pytest-xdist
        return
    repeated = {report.nodeid for report in reporter.stats.get("rerun", [])}
    if len(repeated) > MAX_RERUNS and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(repeated)} tests ran again; at most {MAX_RERUNS} may")
    if missing := find_missing_routes(_reports_of(reporter)):
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"no response was decoded of: {', '.join(sorted(missing))}")


def _reports_of(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    entries = (entry for entries in reporter.stats.values() for entry in entries)
    return [entry for entry in entries if isinstance(entry, pytest.TestReport)]


@pytest.fixture(scope="session")
def seekdb_database() -> Iterator[StoreDatabase]:
    """The store of a real seekdb server, started when a test needs it. Use own clusters in it."""
    with run_seekdb() as database:
        yield database


@pytest.fixture(scope="session")
def mariadb_database() -> Iterator[StoreDatabase]:
    """The store of a real MariaDB server, started when a test needs it. Use own clusters in it."""
    with run_mariadb() as database:
        yield database


@pytest.fixture(scope="session")
def made_users() -> Iterator[SudoUsers]:
    """Two users; one may become the other. Created once; use them through `sudo_users`."""
    if (reason := skip_reason()) is not None:
        pytest.skip(reason)
    with make_users() as users:
        yield users


@pytest_asyncio.fixture
async def sudo_users(made_users: SudoUsers) -> AsyncIterator[SudoUsers]:
    """Create users with the sudo rule of docs/operations/ssh.md; end their processes afterwards."""
    made_users.allow(RULE)
    yield made_users

    async def is_quiet() -> bool:
        return not made_users.processes()

    try:
        await eventually(is_quiet, timeout_s=30)
    except AssertionError:
        raise AssertionError(f"left of the users: {made_users.processes()}") from None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_hosts() -> AsyncIterator[DemoHosts]:
    """One host with OpenSSH where every user of this machine can log in with the key."""
    async with DemoHosts(1) as hosts:
        if hosts.kind != OPENSSH:
            pytest.skip(hosts.notice)
        hosts.directory.chmod(0o755)
        yield hosts


@pytest_asyncio.fixture
async def ssh_pool() -> AsyncIterator[SshPool]:
    """A pool for one test."""
    pool = SshPool(SystemClock(), Random(1))
    yield pool
    await pool.close()


class AddressOf(Protocol):
    """Return the address through which a runner reaches a host, with any field replaced."""

    def __call__(self, host: DemoHost, **changes: object) -> HostAddress: ...


@pytest.fixture
def address_of() -> AddressOf:
    def address(host: DemoHost, **changes: object) -> HostAddress:
        fields: dict[str, object] = {
            "host": host.ip,
            "port": host.port,
            "user": host.user,
            "key_file": host.key_file,
            "known_hosts": host.known_hosts,
        }
        return HostAddress(**(fields | changes))  # type: ignore[arg-type]

    return address


@pytest.fixture
def logged() -> io.StringIO:
    """Collect everything that is logged, at every level."""
    stream = io.StringIO()
    configure_logs(stream, level=logging.DEBUG)
    return stream


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Undo `configure_logs`, which also commands call: pytest closes the stream of a test."""
    if structlog.is_configured():
        structlog.reset_defaults()
        root = logging.getLogger()
        root.setLevel(logging.WARNING)
        for handler in root.handlers[:]:
            if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
                root.removeHandler(handler)
