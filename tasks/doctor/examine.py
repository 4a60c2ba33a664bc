"""Checks of `dagengine doctor`: the whole set-up, from the engine file to every host's limits.

They change nothing, take no lock, and work while a controller runs.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from dagengine import Clock, FencingToken
from dagengine.errors import (
    AuthenticationFailed,
    ConfigError,
    ForwardingProhibited,
    HostKeyRejected,
    RemoteError,
    StoreUnavailable,
    SudoRefused,
)
from dagengine.extension import (
    ClusterConfig,
    SelfCheckResult,
    SelfCheckStatus,
    ServerIdentity,
    compare_with_store,
    inspect_controller,
    inspect_file,
    inspect_shared_store,
    read_fencing_token,
    read_store_identity,
)
from dagengine.remote import HostAddress, Runner, RunnerPool, find_skipped_lines, known_hosts_file
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.servers import Cluster, Server
from tasks.doctor import messages
from tasks.flavours.select import FLAVOURS
from tasks.hosts.facts import HostFacts
from tasks.preflight.checks import CHECKS, run_checks
from tasks.preflight.decide import block_truncated
from tasks.preflight.inspect import gather_facts
from tasks.preflight.result import CheckResult, Severity, StartTarget
from tasks.sql.access import open_sql
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, query_version
from tasks.sql.identity import read_identities

# Names of checks are part of the JSON output, and thus not messages.
_CLUSTER_FILE, _ROOT_PASSWORD, _HOST_KEY = "cluster file", "root password", "host key"
_KNOWN_HOSTS = "known hosts"
_HOST_S = 120.0
_HEALTH_OF = {
    Severity.OK: SelfCheckStatus.OK,
    Severity.WARN: SelfCheckStatus.WARN,
    Severity.BLOCK: SelfCheckStatus.BAD,
    Severity.SKIPPED: SelfCheckStatus.WARN,
}


_TRUST = "dagengine hosts trust"

Report: TypeAlias = Callable[[Sequence[SelfCheckResult]], None]


def name_engine_file(
    results: Iterable[SelfCheckResult], engine_file: Path
) -> list[SelfCheckResult]:
    """Complete the commands in the remedies with the engine file."""
    command = f"{_TRUST} -c {shlex.quote(str(engine_file))}"
    return [replace(each, remedy=each.remedy.replace(_TRUST, command)) for each in results]


async def examine(
    engine_file: Path, pool: RunnerPool, clock: Clock, report: Report = lambda _: None
) -> list[SelfCheckResult]:
    """Run all checks, in the order in which a start depends on them.

    Args:
        engine_file: the engine file.
        pool: logs in to the hosts.
        clock: source of time.
        report: called with the results of each part as soon as they are known.
    """

    def report_complete(results: Sequence[SelfCheckResult]) -> None:
        report(name_engine_file(results, engine_file))

    results = await _examine_all(engine_file, pool, clock, report_complete)
    return name_engine_file(results, engine_file)


async def _examine_all(
    engine_file: Path, pool: RunnerPool, clock: Clock, report: Report
) -> list[SelfCheckResult]:
    config, results = inspect_controller(engine_file, os.environ)
    if config is None:
        report(results)
        return results
    results += await inspect_shared_store(config)
    files: list[tuple[ClusterConfig, ClusterFile]] = []
    for cluster in config.cluster_configs:
        try:
            file = ClusterFile(cluster.file, FLAVOURS)
            cluster.check_name(file.name)
        except ConfigError as exc:
            results.append(_bad(str(cluster.file), _CLUSTER_FILE, exc.message, exc.remedy))
            continue
        files.append((cluster, file))
    if (store := await read_store_identity(config)) is not None:
        results += await inspect_managed([file for _, file in files], pool, clock, store)
    report(results)
    is_shared = config.store.url is not None  # the owner's next token is in its memory
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                examine_cluster(
                    file, pool, clock, None if is_shared else _next_token(each), report
                ),
                name=f"hosts of {file.name}",
            )
            for each, file in files
        ]
    return [*results, *(each for task in tasks for each in task.result())]


async def inspect_managed(
    files: Sequence[ClusterFile], pool: RunnerPool, clock: Clock, store: ServerIdentity
) -> list[SelfCheckResult]:
    """Compare the servers of clusters that answer SQL with the server of the shared store."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                read_identities(ClusterAccess(file, pool, clock)), name=f"identities {file.name}"
            )
            for file in files
        ]
    return [
        compare_with_store(file.name, store, task.result())
        for file, task in zip(files, tasks, strict=True)
    ]


async def examine_cluster(
    file: ClusterFile,
    pool: RunnerPool,
    clock: Clock,
    token: FencingToken | None,
    report: Report = lambda _: None,
) -> list[SelfCheckResult]:
    """Check the cluster file, the files for logins, and every host.

    Args:
        file: the cluster file.
        pool: logs in to the hosts.
        clock: source of time.
        token: the fencing token of the next start; None if it is not known.
        report: called with the results of each part as soon as they are known.
    """
    cluster = file.current
    results = [*inspect_cluster_file(file.path, cluster), inspect_password(file)]
    addresses = list(dict.fromkeys(hop for s in cluster.servers for hop in s.address.route()))
    for address in addresses:
        results += inspect_login_files(address)
    results += inspect_known_hosts(addresses)
    results = list(dict.fromkeys(results))
    report(results)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                _examine_host(server, file, pool, clock, token, report), name=f"examine {server}"
            )
            for server in file.servers
        ]
    examined = [task.result() for task in tasks]
    builds = _compare_builds(examined)
    report(builds)
    return [*results, *(each for _, _, of_host in examined for each in of_host), *builds]


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
    """Check the key and the passphrase of one host or bastion."""
    if address.key_file is not None and not address.agent:
        yield inspect_file(address.key_file, "SSH key", is_secret=True)
    if address.key_passphrase_file is not None:
        yield inspect_file(address.key_passphrase_file, "passphrase", is_secret=True)
    if (variable := address.key_passphrase_env) is not None and not os.environ.get(variable):
        state = messages.VARIABLE_EMPTY if variable in os.environ else messages.VARIABLE_UNSET
        yield _bad(variable, "passphrase", state(), messages.SET_VARIABLE())


def inspect_known_hosts(addresses: Iterable[HostAddress]) -> Iterator[SelfCheckResult]:
    """Check the known_hosts files, each of which is that of many hosts."""
    by_file: dict[Path, HostAddress] = {}
    for address in addresses:
        try:
            by_file.setdefault(known_hosts_file(address), address)
        except ConfigError as exc:
            yield _bad("known_hosts", _KNOWN_HOSTS, exc.message, exc.remedy)
    for file, address in by_file.items():
        yield from _inspect_known_hosts_file(file, address)


def _inspect_known_hosts_file(file: Path, address: HostAddress) -> Iterator[SelfCheckResult]:
    """Check one file; without it, the host keys are unknown, not the set-up broken."""
    check, remedy = _KNOWN_HOSTS, messages.PIN_HOST_KEYS()
    if not file.exists():
        message = messages.KNOWN_HOSTS_MISSING()
        yield SelfCheckResult(str(file), check, SelfCheckStatus.WARN, message, remedy)
        return
    result = inspect_file(file, check, is_secret=False)
    if result.health is SelfCheckStatus.BAD:
        result = replace(result, remedy=remedy)
    yield result
    for warning in find_skipped_lines(address):
        yield SelfCheckResult(
            str(file), check, SelfCheckStatus.WARN, warning, messages.CORRECT_LINE()
        )


Examined = tuple[Server, HostFacts | None, list[SelfCheckResult]]


async def _examine_host(
    server: Server,
    file: ClusterFile,
    pool: RunnerPool,
    clock: Clock,
    token: FencingToken | None,
    report: Report,
) -> Examined:
    facts, results = await _query_host(server, file, pool.runner(server.address), clock, token)
    report(results)
    return server, facts, results


async def _query_host(
    server: Server, file: ClusterFile, runner: Runner, clock: Clock, token: FencingToken | None
) -> tuple[HostFacts | None, list[SelfCheckResult]]:
    try:
        async with asyncio.timeout(_HOST_S):
            facts = await gather_facts(server, runner, clock, with_version=True)
            if not facts.complete:
                block = block_truncated(facts, server.address.user)
                return None, [_bad(server.name, "login", block.message, block.remedy)]
            results = [_logged_in(server, facts)]
            start_target = StartTarget(server, token=token)
            results += [_as_result(server, v) for v in run_checks(facts, start_target)]
            results += await _examine_sql(server, facts, file, runner)
            return facts, results
    except RemoteError as exc:
        return None, [_bad(server.name, _name(exc), exc.message, exc.remedy)]
    except TimeoutError:
        message, remedy = messages.HOST_SILENT(limit_s=_HOST_S), messages.CHECK_HOST()
        return None, [_bad(server.name, "reachable", message, remedy)]


def _next_token(config: ClusterConfig) -> FencingToken | None:
    """Return the token of the controller's next start; None if its store cannot be read."""
    try:
        token = read_fencing_token(config)
    except StoreUnavailable:
        return None  # a new store, or one that inspect_controller has reported
    return replace(token, lock_token=token.lock_token + 1)


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
    """Check the route to a running server, and the password."""
    if facts.process is None:  # the check `forwarding` has examined sshd
        return []
    check = "sql"
    try:
        password = file.root_password()
        async with open_sql(server, runner, password, logins=file.logins) as connection:
            version = await query_version(connection)
    except SqlPasswordRefused:
        remedy = messages.CORRECT_PASSWORD(source=file.current.root_password.name)
        return [_bad(server.name, check, messages.PASSWORD_REFUSED(), remedy)]
    except ForwardingProhibited as exc:
        return [_bad(server.name, "forwarding", exc.message, exc.remedy)]
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


def _compare_builds(examined: Sequence[Examined]) -> list[SelfCheckResult]:
    """Return a warning for each program whose size differs from the first."""
    first: tuple[str, int] | None = None
    compared = []
    for server, facts, _ in examined:
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
