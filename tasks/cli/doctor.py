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
from tasks.cluster.cluster_file import Cluster, ClusterFile, Server
from tasks.flavours.select import FLAVOURS
from tasks.hosts.facts import HostFacts
from tasks.preflight.checks import CHECKS, run_checks
from tasks.preflight.decide import block_truncated
from tasks.preflight.inspect import gather_facts
from tasks.preflight.result import CheckResult, Severity, StartTarget
from tasks.sql.access import open_sql
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, query_version

_GREETING_S = 5.0
_HOST_S = 120.0
_FORWARDING_REMEDY = "check AllowTcpForwarding and PermitOpen in its sshd_config"
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
        return [*results, _bad(str(config.cluster), "cluster file", exc.message, exc.remedy)]
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
    content = f"{cluster.name}: {len(servers)} {cluster.flavour.name} servers in {len(zones)} zones"
    yield SelfCheckResult(str(path), "cluster file", SelfCheckStatus.OK, content)
    for notice in cluster.notices:
        yield SelfCheckResult(str(path), "cluster file", SelfCheckStatus.WARN, notice)
    if cluster.password is not None:
        yield inspect_file(path, "password in clear", is_secret=True)


def inspect_password(file: ClusterFile) -> SelfCheckResult:
    """Check the password of root@sys as a controller started from this shell would read it."""
    source, check = file.current.root_password, "root password"
    try:
        password = file.root_password()
    except ConfigError as exc:
        return _bad(source.name, check, exc.message, exc.remedy)
    if source.file is not None:
        return inspect_file(source.file, check, is_secret=True)
    if not password:
        message = "root has no password: every caller who reaches the API may start servers"
        remedy = "set a password for root; name it with root_password_env or root_password_file"
        return SelfCheckResult(source.name, check, SelfCheckStatus.WARN, message, remedy)
    return SelfCheckResult(source.name, check, SelfCheckStatus.OK, "set")


def inspect_login_files(address: HostAddress) -> Iterator[SelfCheckResult]:
    """Check the key, passphrase and known hosts of one host or bastion."""
    if address.key_file is not None and not address.agent:
        yield inspect_file(address.key_file, "SSH key", is_secret=True)
    if address.key_passphrase_file is not None:
        yield inspect_file(address.key_passphrase_file, "passphrase", is_secret=True)
    if (variable := address.key_passphrase_env) is not None and not os.environ.get(variable):
        state = "empty" if variable in os.environ else "not set"
        remedy = "set it in the environment of the controller"
        yield _bad(variable, "passphrase", f"the variable is {state}", remedy)
    known_hosts = address.known_hosts or Path("~/.ssh/known_hosts").expanduser()
    result = inspect_file(known_hosts, "known hosts", is_secret=False)
    if result.health is SelfCheckStatus.BAD:
        result = replace(result, remedy="pin the hosts' keys: dagengine hosts trust -c ENGINE_FILE")
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
        message, remedy = f"no response within {_HOST_S:g} s", "check the host and its sshd"
        return server, None, [_bad(server.name, "reachable", message, remedy)]


def _logged_in(server: Server, facts: HostFacts) -> SelfCheckResult:
    runs = f"the server runs, pid {facts.process.pid}" if facts.process else "no server runs"
    version = f", version {facts.version}" if facts.version else ""
    address = server.address
    by_sudo = f", by sudo from {address.user}" if address.sudo else ""
    login = f"{facts.user} (uid {facts.uid}) at {address}{by_sudo}; {runs}{version}"
    return SelfCheckResult(server.name, "login", SelfCheckStatus.OK, login)


def _as_result(server: Server, check_result: CheckResult) -> SelfCheckResult:
    health = _HEALTH_OF[check_result.level]
    message = check_result.cause or "passed"
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
        remedy = "correct the password that the cluster file names"
        return [_bad(server.name, check, "the server refuses the password of root", remedy)]
    except SqlNotReady as exc:
        remedy = f"{_FORWARDING_REMEDY}; read the log of sshd"
        return [_bad(server.name, check, exc.message, exc.remedy or remedy)]
    except ConfigError as exc:
        return [_bad(server.name, check, exc.message, exc.remedy)]
    return [SelfCheckResult(server.name, check, SelfCheckStatus.OK, f"answers over SSH: {version}")]


async def _try_forwarding(server: Server, runner: Runner) -> SelfCheckResult:
    """Check TCP forwarding of the host's sshd by connecting to its own port.

    Used when no server listens.
    """
    port = server.address.port
    for host in dict.fromkeys(("127.0.0.1", server.address.host, server.ip)):
        if await _greets(runner, host, port):
            message = "sshd forwards TCP connections"
            return SelfCheckResult(server.name, "forwarding", SelfCheckStatus.OK, message)
    message = f"sshd does not forward TCP connections: no response from its own port {port}"
    return SelfCheckResult(
        server.name, "forwarding", SelfCheckStatus.WARN, message, _FORWARDING_REMEDY
    )


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
            return "host key"
        case AuthenticationFailed():
            return "login"
        case SudoRefused():
            return "sudo"
        case _:
            return "reachable"


def _bad(subject: str, check: str, message: str, remedy: str) -> SelfCheckResult:
    return SelfCheckResult(subject, check, SelfCheckStatus.BAD, message, remedy)
