"""The command `dagengine hosts`: `trust` shows every host's key, asks, and pins the keys."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Any, Literal

import typer

from dagengine import SystemClock
from dagengine.errors import ConfigError, RemoteError
from dagengine.extension import (
    ExitCode,
    find_engine_file,
    load_config,
    new_app,
    print_lines,
    render_epilog,
    run_in_process_time,
    write_document,
    write_question,
)
from dagengine.remote import (
    HostAddress,
    HostKey,
    HostKeys,
    SshPool,
    Trust,
    find_skipped_lines,
    known_hosts_file,
)
from tasks.cli import messages
from tasks.cli.claim import run_claim
from tasks.cluster.cluster_file import load_cluster
from tasks.flavours.select import FLAVOURS

_SAFE = (Trust.KNOWN, Trust.CERTIFIED)
_YES = ("y", "yes")

app = new_app()


@dataclass(frozen=True, slots=True)
class Result:
    """Result for one host; `key` is None if its key could not be read."""

    address: HostAddress
    key: HostKey | None
    pinned: bool = False
    problem: str = ""

    @property
    def is_trusted(self) -> bool:
        return self.pinned or (self.key is not None and self.key.trust in _SAFE)


@app.command(
    epilog=render_epilog(
        "dagengine hosts trust -c engine.yaml",
        "dagengine hosts claim 10.0.0.1:2886 -c engine.yaml",
    )
)
def hosts(
    action: Annotated[Literal["trust", "claim"], typer.Argument()],
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="claim: the server, as in the cluster file.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="The engine file.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="NAME|FILE",
            help="With -c: name of one of its clusters; alone: a cluster file.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Pin or claim without asking.")] = False,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Pin this host's key although another one is pinned: host or host:port.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="claim: reason for the audit.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Pin the hosts' keys (trust), or take over a home from another store (claim SERVER).

    trust: the exit code is 1 if a host is not trusted at the end. claim: needs -c; the exit code is
    1 if the home is not this store's at the end.
    """
    if (action == "claim") is not bool(server):
        raise typer.BadParameter(messages.SERVER_FOR_CLAIM())
    if action == "claim":
        if config is None or replace:
            raise typer.BadParameter(messages.CLAIM_NEEDS_CONFIG())
        raise typer.Exit(
            run_claim(
                *(config, server),
                is_agreed=yes,
                as_json=as_json,
                user_reason=reason,
                cluster=cluster,
            )
        )
    try:
        addresses = find_hosts(
            server.address
            for path in _choose_files(config, cluster)
            for server in load_cluster(path, FLAVOURS).servers
        )
        replaced = _check_replaced(replace or (), addresses)
        for warning in find_skipped_lines(*addresses):
            _print(warning)
        results = _trust_all(addresses, replaced, is_agreed=yes)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    is_done = all(result.is_trusted for result in results)
    pinned = sum(result.pinned for result in results)
    trusted = sum(result.is_trusted for result in results)
    counts = {"pinned": pinned, "known": trusted - pinned, "rejected": len(results) - trusted}
    _print(messages.TRUST_COUNTED(**counts))
    if as_json:
        document = {"trusted": is_done, "hosts": [_describe(result) for result in results]}
        write_document(sys.stdout, document)
    raise typer.Exit(ExitCode.DONE if is_done else ExitCode.FAILED)


def find_hosts(addresses: Iterable[HostAddress]) -> tuple[HostAddress, ...]:
    """Return every host once, including bastions, each before the hosts behind it."""
    hosts = {_identity(hop): hop for address in addresses for hop in address.route()}
    return tuple(sorted(hosts.values(), key=_route_length))


def _choose_files(config: Path | None, cluster: str | None) -> list[Path]:
    """Return the paths of the cluster files; those of all clusters if none is named."""
    if config is None and cluster is not None:
        return [Path(cluster)]
    engine = load_config(find_engine_file() if config is None else config, os.environ)
    chosen = engine.cluster_configs if cluster is None else (engine.find_cluster(cluster),)
    return [each.file for each in chosen]


def _check_replaced(
    names: Sequence[str], addresses: Sequence[HostAddress]
) -> frozenset[HostAddress]:
    chosen: set[HostAddress] = set()
    for name in names:
        matching = {a for a in addresses if name in (a.host, str(a))}
        if not matching:
            raise ConfigError(
                messages.HOST_UNKNOWN(name=name),
                remedy=messages.NAME_HOST(hosts=", ".join(map(str, addresses))),
            )
        chosen |= matching
    return frozenset(chosen)


def _trust_all(
    addresses: Sequence[HostAddress], replaced: frozenset[HostAddress], *, is_agreed: bool
) -> list[Result]:
    """Work hop by hop: hosts behind a bastion are reachable only once it is trusted."""
    results: list[Result] = []
    for _, wave in groupby(addresses, key=_route_length):
        keys = HostKeys(SshPool(SystemClock(), SystemRandom()))
        # Ask outside the event loop, so that Ctrl-C ends the prompt.
        key_results = run_in_process_time(_read_keys(keys, list(wave)))
        _show(key_results)
        results += _pin(keys, key_results, replaced, is_agreed=is_agreed)
    return results


async def _read_keys(keys: HostKeys, wave: Sequence[HostAddress]) -> list[Result]:
    try:
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(_read_key(keys, a), name=f"read key of {a}") for a in wave]
        return [task.result() for task in reads]
    finally:
        await keys.close()


async def _read_key(keys: HostKeys, address: HostAddress) -> Result:
    try:
        return Result(address, await keys.look(address))
    except RemoteError as exc:
        return Result(address, None, problem=str(exc))


def _pin(
    keys: HostKeys, results: Sequence[Result], replaced: frozenset[HostAddress], *, is_agreed: bool
) -> Iterator[Result]:
    keys_to_pin = [
        result.key
        for result in results
        if result.key is not None
        and (result.key.trust is Trust.NEW or _is_replaced(result.key, replaced))
    ]
    is_agreed = bool(keys_to_pin) and (is_agreed or _confirm(len(keys_to_pin)))
    for result in results:
        key = result.key
        if key is None or key.trust in _SAFE:
            yield result
        elif key not in keys_to_pin:
            yield Result(result.address, key, problem=_refusal(key))
        elif not is_agreed:
            yield Result(result.address, key, problem=messages.NOT_PINNED())
        else:
            yield _pin_key(keys, key)


def _pin_key(keys: HostKeys, key: HostKey) -> Result:
    file = known_hosts_file(key.address)
    is_new_file = not file.exists()
    others = keys.pin(key)
    if is_new_file:
        _print(messages.FILE_CREATED(file=file))
    fields = {"algorithm": key.algorithm, "fingerprint": key.fingerprint, "file": file}
    _print(messages.PINNED(address=key.address, **fields))
    for other in others:
        _print(messages.PATTERN_TRUSTS(address=key.address, other=other))
    return Result(key.address, key, pinned=True)


def _is_replaced(key: HostKey, replaced: frozenset[HostAddress]) -> bool:
    return key.trust is Trust.CHANGED and key.address in replaced


def _refusal(key: HostKey) -> str:
    if key.trust is Trust.REVOKED:
        return messages.KEY_REVOKED()
    return messages.OTHER_KEY_PINNED(pinned=", ".join(key.pinned), address=key.address)


def _show(results: Sequence[Result]) -> None:
    for result in results:
        key = result.key
        if key is None:
            _print(f"{result.address}  {result.problem}")
            continue
        _print(f"{result.address}  {key.algorithm}  {key.fingerprint}  {key.trust.value}")
        if key.trust in (Trust.CHANGED, Trust.REVOKED):
            _print(f"{' ' * len(str(result.address))}  {_refusal(key)}")


def _confirm(count: int) -> bool:
    question = messages.PIN_KEY() if count == 1 else messages.PIN_KEYS(count=count)
    write_question(sys.stderr, question)
    return sys.stdin.readline().strip().lower() in _YES


def _print(line: str) -> None:
    print_lines(sys.stderr, [line])


def _describe(result: Result) -> Mapping[str, Any]:
    key = result.key
    return {
        "host": str(result.address),
        "via": str(result.address.jump) if result.address.jump else None,
        "algorithm": key.algorithm if key else None,
        "fingerprint": key.fingerprint if key else None,
        "state": key.trust.value if key else "unreachable",
        "pinned_before": list(key.pinned) if key else [],
        "pinned": result.pinned,
        "trusted": result.is_trusted,
        "problem": result.problem or None,
    }


def _route_length(address: HostAddress) -> int:
    return len(address.route())


def _identity(address: HostAddress) -> tuple[object, ...]:
    """Return what distinguishes host keys: route and known_hosts, not login users or keys."""
    route = tuple((hop.host, hop.port) for hop in address.route())
    return (*route, address.known_hosts)
