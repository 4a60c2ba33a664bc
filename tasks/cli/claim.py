"""The command `dagengine hosts claim SERVER`: takes over a home that another store controls."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import SystemRandom
from typing import TypeVar

from dagengine import FencingToken, SystemClock
from dagengine.errors import ConfigError
from dagengine.extension import (
    ClusterConfig,
    ExitCode,
    audit_command,
    check_store_is_local,
    load_config,
    print_lines,
    read_fencing_token,
    write_document,
    write_question,
)
from dagengine.remote import Runner, SshPool
from tasks.cli import messages
from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.servers import Server
from tasks.flavours.select import FLAVOURS
from tasks.hosts.commands import claim_home_command
from tasks.hosts.facts import HostFacts
from tasks.hosts.fence import (
    FENCE_FILE,
    ClaimOutcome,
    FenceVerdict,
    compare_token,
    explain_fence,
    is_in_future,
    parse_claim,
)
from tasks.preflight.inspect import gather_facts

T = TypeVar("T")

_YES = ("y", "yes")
_CLAIM_LIMIT_S = 60.0


class ClaimResult(StrEnum):
    """Result of the command, as in its JSON document."""

    CLAIMED = "claimed"
    UNNECESSARY = "unnecessary"
    STALE = "stale"
    DECLINED = "declined"
    FAILED = "failed"

    @property
    def is_ours(self) -> bool:
        """Whether the home is not another store's at the end."""
        return self in (ClaimResult.CLAIMED, ClaimResult.UNNECESSARY)


@dataclass(frozen=True, slots=True)
class _Claim:
    config: ClusterConfig
    server: Server
    token: FencingToken


def run_claim(
    config_file: Path,
    name: str,
    *,
    is_agreed: bool,
    as_json: bool,
    user_reason: str = "",
    cluster: str | None = None,
) -> int:
    """Run the command; return its exit code.

    Args:
        config_file: the engine file.
        name: name of the server.
        is_agreed: whether the user has confirmed in advance.
        as_json: whether to print one JSON document on stdout.
        user_reason: the user's reason, for the audit.
        cluster: name of the cluster, if the engine file has several.

    Raises:
        DagengineError: a file or the store cannot be used, or the host cannot be reached.
    """
    try:
        engine = load_config(config_file, os.environ)
        config = engine.find_cluster(cluster)
        asyncio.run(check_store_is_local(engine, config.name, f"hosts claim {name}"))
        claim = _Claim(config, find_server(config.file, name), read_fencing_token(config))
        facts = _on_host(claim.server, lambda runner: _gather(claim.server, runner))
        result = _decide_and_claim(claim, facts, user_reason, is_agreed=is_agreed)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if as_json:
        document = {"server": name, "result": str(result), "fence_before": str(facts.fence)}
        write_document(sys.stdout, document)
    return ExitCode.DONE if result.is_ours else ExitCode.FAILED


def find_server(cluster_file: Path, name: str) -> Server:
    """Return a server of a cluster file.

    Raises:
        ConfigError: the file cannot be used, or does not contain the server.
    """
    servers = load_cluster(cluster_file, FLAVOURS).servers
    for server in servers:
        if server.name == name:
            return server
    raise ConfigError(
        messages.SERVER_UNKNOWN(path=cluster_file, name=name),
        remedy=messages.NAME_SERVER(servers=", ".join(server.name for server in servers)),
    )


def _decide_and_claim(
    claim: _Claim, facts: HostFacts, user_reason: str, *, is_agreed: bool
) -> ClaimResult:
    server, token = claim.server, claim.token
    if not facts.complete:
        _print(messages.FACTS_TRUNCATED(server=server.name, output=facts.output_tail))
        return ClaimResult.FAILED
    verdict = compare_token(facts.fence, token)
    if verdict is FenceVerdict.PASSED:
        _print(messages.CLAIM_UNNECESSARY(server=server.name, home=server.home))
        return ClaimResult.UNNECESSARY
    cause, remedy = explain_fence(verdict, facts.fence, token, server.home, server.name)
    is_in_error = is_in_future(facts.fence, SystemClock().now())
    if verdict is FenceVerdict.STALE and not is_in_error:  # of this store: a new epoch is safe
        _print(messages.CLAIM_STALE(server=server.name, cause=cause, remedy=remedy))
        return ClaimResult.STALE
    state = messages.CLAIM_SERVER_RUNS if facts.process else messages.CLAIM_SERVER_STOPPED
    _print(state(server=server.name, cause=cause))
    if verdict is FenceVerdict.STALE:
        _print(messages.CLAIM_FUTURE_EPOCH(server=server.name))
    # Ask outside the event loop, so that Ctrl-C ends the prompt.
    if not is_agreed and not _confirm():
        _print(messages.CLAIM_DECLINED(server=server.name))
        return ClaimResult.DECLINED
    reason: str = messages.CLAIM_AUDIT(server=server.name, home=server.home, cause=cause)
    if user_reason:
        reason = messages.CLAIM_AUDIT_REASON(action=reason, reason=user_reason)
    audit_command(claim.config, "CLAIM", reason, SystemClock().now())
    return _claim(claim, facts)


def _claim(claim: _Claim, facts: HostFacts) -> ClaimResult:
    server = claim.server
    command = claim_home_command(server.home, claim.token, facts.fence)
    result = _on_host(server, lambda runner: runner.run(command, timeout_s=_CLAIM_LIMIT_S))
    report = parse_claim(result.stdout)
    fields = {"server": server.name, "home": server.home}
    match report.outcome:
        case ClaimOutcome.CLAIMED:
            _print(messages.CLAIMED(**fields))
            return ClaimResult.CLAIMED
        case ClaimOutcome.CHANGED:
            _print(messages.CLAIM_CHANGED(**fields))
        case _ if report.unrecorded:
            file = f"{server.home}/{FENCE_FILE}"
            _print(messages.CLAIM_FAILED(server=server.name, file=file, reason=report.unrecorded))
        case _:
            _print(messages.CLAIM_UNANSWERED(**fields))
    return ClaimResult.FAILED


def _on_host(server: Server, work: Callable[[Runner], Awaitable[T]]) -> T:
    async def run() -> T:
        pool = SshPool(SystemClock(), SystemRandom())
        try:
            return await work(pool.runner(server.address))
        finally:
            await pool.close()

    return asyncio.run(run())


async def _gather(server: Server, runner: Runner) -> HostFacts:
    return await gather_facts(server, runner, SystemClock())


def _confirm() -> bool:
    write_question(sys.stderr, messages.CLAIM_IT())
    return sys.stdin.readline().strip().lower() in _YES


def _print(line: str) -> None:
    print_lines(sys.stderr, [line])
