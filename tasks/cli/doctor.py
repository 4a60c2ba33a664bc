"""Checks of `dagengine doctor`: the whole set-up, from the engine file to every host's limits.

They change nothing, take no lock, and work while a controller runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dagengine import Clock
from dagengine.errors import (
    AuthenticationFailed,
    ConfigError,
    HostKeyRejected,
    RemoteError,
    SudoRefused,
)
from dagengine.extension import SelfCheckResult, SelfCheckStatus, inspect_controller, inspect_file
from dagengine.remote import HostAddress, Runner, RunnerPool
from tasks.cli import messages
from tasks.cluster.cluster_file import Cluster, ClusterFile, Server
from tasks.flavours.select import FLAVOURS
from tasks.hosts.facts import HostFacts
from tasks.preflight.checks import CHECKS, run_checks
from tasks.preflight.decide import block_truncated
from tasks.preflight.inspect import gather_facts
from tasks.preflight.result import CheckResult, Severity, StartTarget
from tasks.sql.access import open_sql
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, query_version

# Names of checks are part of the JSON output, and thus not messages.
_CLUSTER_FILE, _ROOT_PASSWORD, _HOST_KEY = "cluster file", "root password", "host key"
_GREETING_S = 5.0
_HOST_S = 120.0
_HEALTH_OF = {
    Severity.OK: SelfCheckStatus.OK,
    Severity.WARN: SelfCheckStatus.WARN,
    Severity.BLOCK: SelfCheckStatus.BAD,
    Severity.SKIPPED: SelfCheckStatus.WARN,
}


async def examine(engine_file: Path, pool: RunnerPool, clock: Clock) -> list[SelfCheckResult]:
    """Run all checks, in the order in which a start depends on them."""
    config, results = inspect_controller(engine_file, os.environ)
    if config is None:
        return results
    try:
        file = ClusterFile(config.cluster, FLAVOURS)
    except ConfigError as exc:
        return [*results, _bad(str(config.cluster), _CLUSTER_FILE, exc.message, exc.remedy)]
    cluster = file.current
    results += inspect_cluster_file(config.cluster, cluster)
    results.append(inspect_password(file))
    for address in dict.fromkeys(hop for s in cluster.servers for hop in s.address.route()):
        results += inspect_login_files(address)
    results = list(dict.fromkeys(results))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_examine_host(server, file, pool, clock), name=f"examine {server}")
            for server in cluster.servers
        ]
    return results + _compare_builds([task.result() for task in tasks])


def inspect_cluster_file(path: Path, cluster: Cluster) -> Iterator[SelfCheckResult]:
    """Report the file's content and, if it holds a password, the file's permissions."""
    servers, zones = cluster.servers, {server.zone for server in cluster.servers}
    content = messages.CLUSTER_FILE(
        name=cluster.name, servers=len(servers), flavour=cluster.flavour.name, zones=len(zones)
    )
    yield SelfCheckResult(str(path), _CLUSTER_FILE, SelfCheckStatus.OK, content)
    for notice in cluster.notices:
        yield SelfCheckResult(str(path), _CLUSTER_FILE, SelfCheckStatus.WARN, notice)
    if cluster.password is not None:
        yield inspect_file(path, "password in clear", is_secret=True)


def inspect_password(file: ClusterFile) -> SelfCheckResult:
    """Check the password of root@sys as a controller started from this shell would read it."""
    source, check = file.current.root_password, _ROOT_PASSWORD
    try:
        password = file.root_password()
    except ConfigError as exc:
        return _bad(source.name, check, exc.message, exc.remedy)
    if source.file is not None:
        return inspect_file(source.file, check, is_secret=True)
    if not password:
        message, remedy = messages.PASSWORD_EMPTY(), messages.SET_PASSWORD()
        return SelfCheckResult(source.name, check, SelfCheckStatus.WARN, message, remedy)
    return SelfCheckResult(source.name, check, SelfCheckStatus.OK, messages.PASSWORD_SET())


def inspect_login_files(address: HostAddress) -> Iterator[SelfCheckResult]:
    """Check the key, passphrase and known hosts of one host or bastion."""
    if address.key_file is not None and not address.agent:
        yield inspect_file(address.key_file, "SSH key", is_secret=True)
    if address.key_passphrase_file is not None:
        yield inspect_file(address.key_passphrase_file, "passphrase", is_secret=True)
    if (variable := address.key_passphrase_env) is not None and not os.environ.get(variable):
        state = messages.VARIABLE_EMPTY if variable in os.environ else messages.VARIABLE_UNSET
        yield _bad(variable, "passphrase", state(), messages.SET_VARIABLE())
    known_hosts = address.known_hosts or Path("~/.ssh/known_hosts").expanduser()
    result = inspect_file(known_hosts, "known hosts", is_secret=False)
    if result.health is SelfCheckStatus.BAD:
        result = replace(result, remedy=messages.PIN_HOST_KEYS())
    yield result


Examined = tuple[Server, HostFacts | None, list[SelfCheckResult]]


async def _examine_host(
    server: Server, file: ClusterFile, pool: RunnerPool, clock: Clock
) -> Examined:
    runner = pool.runner(server.address)
    try:
        async with asyncio.timeout(_HOST_S):
            facts = await gather_facts(server, runner, clock, with_version=True)
            if not facts.complete:
                block = block_truncated(facts, server.address.user)
                return server, None, [_bad(server.name, "login", block.message, block.remedy)]
            results = [_logged_in(server, facts)]
            results += [_as_result(server, v) for v in run_checks(facts, StartTarget(server))]
            results += await _examine_sql(server, facts, file, runner)
            return server, facts, results
    except RemoteError as exc:
        return server, None, [_bad(server.name, _name(exc), exc.message, exc.remedy)]
    except TimeoutError:
        message, remedy = messages.HOST_SILENT(limit_s=_HOST_S), messages.CHECK_HOST()
        return server, None, [_bad(server.name, "reachable", message, remedy)]


def _logged_in(server: Server, facts: HostFacts) -> SelfCheckResult:
    address = server.address
    state = messages.SERVER_STOPPED()
    if facts.process:
        state = messages.SERVER_RUNNING(pid=facts.process.pid)
    if facts.version:
        state = messages.VERSION(server=state, version=facts.version)
    fields = {"user": facts.user, "uid": facts.uid, "address": address, "server": state}
    login = messages.LOGIN(**fields)
    if address.sudo:
        login = messages.LOGIN_BY_SUDO(**fields, login=address.user)
    return SelfCheckResult(server.name, "login", SelfCheckStatus.OK, login)


def _as_result(server: Server, check_result: CheckResult) -> SelfCheckResult:
    health = _HEALTH_OF[check_result.level]
    message = check_result.cause or messages.CHECK_PASSED()
    return SelfCheckResult(server.name, check_result.check, health, message, check_result.remedy)


async def _examine_sql(
    server: Server, facts: HostFacts, file: ClusterFile, runner: Runner
) -> Sequence[SelfCheckResult]:
    """Check the tunnel to the SQL port, and the password."""
    if facts.process is None:
        return [] if server.sql_via == "direct" else [await _try_forwarding(server, runner)]
    check = "sql"
    try:
        password = file.root_password()
        async with open_sql(server, runner, password) as connection:
            version = await query_version(connection)
    except SqlPasswordRefused:
        remedy = messages.CORRECT_PASSWORD()
        return [_bad(server.name, check, messages.PASSWORD_REFUSED(), remedy)]
    except SqlNotReady as exc:
        remedy = messages.CHECK_SSHD_AND_LOG()
        return [_bad(server.name, check, exc.message, exc.remedy or remedy)]
    except ConfigError as exc:
        return [_bad(server.name, check, exc.message, exc.remedy)]
    return [
        SelfCheckResult(
            server.name, check, SelfCheckStatus.OK, messages.SQL_RESPONDS(version=version)
        )
    ]


async def _try_forwarding(server: Server, runner: Runner) -> SelfCheckResult:
    """Check TCP forwarding of the host's sshd by connecting to its own port.

    Used when no server listens.
    """
    port = server.address.port
    for host in dict.fromkeys(("127.0.0.1", server.address.host, server.ip)):
        if await _greets(runner, host, port):
            message = messages.FORWARDING_WORKS()
            return SelfCheckResult(server.name, "forwarding", SelfCheckStatus.OK, message)
    message, remedy = messages.FORWARDING_SILENT(port=port), messages.CHECK_SSHD()
    return SelfCheckResult(server.name, "forwarding", SelfCheckStatus.WARN, message, remedy)


async def _greets(runner: Runner, host: str, port: int) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_GREETING_S), runner.tunnel(host, port) as socket:
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                return bool(await reader.read(4))
            finally:
                writer.close()
    return False


def _compare_builds(examined: Sequence[Examined]) -> list[SelfCheckResult]:
    """Return all results, with a warning for each program whose size differs from the first."""
    first: tuple[str, int] | None = None
    compared = []
    for server, facts, results in examined:
        compared += results
        if facts is None or facts.program_bytes is None:
            continue
        first = first or (server.name, facts.program_bytes)
        if facts.program_bytes != first[1]:
            version = CHECKS["version"].run(facts, StartTarget(server, {first[0]: first[1]}))
            compared.append(_as_result(server, version))
    return compared


def _name(exc: RemoteError) -> str:
    match exc:
        case HostKeyRejected():
            return _HOST_KEY
        case AuthenticationFailed():
            return "login"
        case SudoRefused():
            return "sudo"
        case _:
            return "reachable"


def _bad(subject: str, check: str, message: str, remedy: str) -> SelfCheckResult:
    return SelfCheckResult(subject, check, SelfCheckStatus.BAD, message, remedy)
