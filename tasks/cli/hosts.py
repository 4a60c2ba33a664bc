"""The command `dagengine hosts trust`: shows every host's key, asks, and pins the keys."""

from __future__ import annotations

import asyncio
import json
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
from dagengine.errors import ConfigError, DagengineError, RemoteError
from dagengine.extension import ExitCode, load_config
from dagengine.remote import HostAddress, HostKey, HostKeys, SshPool, Trust
from tasks.cli import messages
from tasks.cluster.cluster_file import load_cluster
from tasks.flavours.select import FLAVOURS

_SAFE = (Trust.KNOWN, Trust.CERTIFIED)
_YES = ("y", "yes")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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


@app.command()
def hosts(
    action: Annotated[Literal["trust"], typer.Argument()],
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="The engine file.")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option("--cluster", metavar="FILE", help="The cluster file.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Pin without asking.")] = False,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Pin this host's key although another one is pinned: host or host:port.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Show the keys of the cluster's hosts and pin them in its known_hosts file.

    The exit code is 1 if a host is not trusted at the end.
    """
    del action  # `trust` is the only one
    try:
        path = _choose_file(config, cluster)
        addresses = find_hosts(server.address for server in load_cluster(path, FLAVOURS).servers)
        replaced = _check_replaced(replace or (), addresses)
        results = _trust_all(addresses, replaced, is_agreed=yes)
    except DagengineError as exc:
        sys.stderr.write(f"{messages.ERROR(error=exc)}\n")
        raise typer.Exit(ExitCode.USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    is_done = all(result.is_trusted for result in results)
    if as_json:
        document = {"trusted": is_done, "hosts": [_describe(result) for result in results]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    raise typer.Exit(ExitCode.DONE if is_done else ExitCode.FAILED)


def find_hosts(addresses: Iterable[HostAddress]) -> tuple[HostAddress, ...]:
    """Return every host once, including bastions, each before the hosts behind it."""
    hosts = {_identity(hop): hop for address in addresses for hop in address.route()}
    return tuple(sorted(hosts.values(), key=_route_length))


def _choose_file(config: Path | None, cluster: Path | None) -> Path:
    """Return the path of the cluster file."""
    if config is not None and cluster is None:
        return load_config(config, os.environ).cluster
    if cluster is not None and config is None:
        return cluster
    raise typer.BadParameter(messages.CONFIG_OR_CLUSTER())


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
        key_results = asyncio.run(_read_keys(keys, list(wave)))
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
            for other in keys.pin(key):
                _print(messages.PATTERN_TRUSTS(address=result.address, other=other))
            yield Result(result.address, key, pinned=True)


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
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in _YES


def _print(line: str) -> None:
    sys.stderr.write(f"{line}\n")


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
