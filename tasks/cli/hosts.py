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
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="the engine file")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option("--cluster", metavar="FILE", help="the cluster file")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="pin without asking")] = False,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="pin this host's key although another one is pinned: host or host:port",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON document on stdout")
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
        sys.stderr.write(f"dagengine: {exc}\n")
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
    found = {_identity(hop): hop for address in addresses for hop in _way_to(address)}
    return tuple(sorted(found.values(), key=_hops))


def _choose_file(config: Path | None, cluster: Path | None) -> Path:
    """Return the path of the cluster file."""
    if config is not None and cluster is None:
        return load_config(config, os.environ).cluster
    if cluster is not None and config is None:
        return cluster
    raise typer.BadParameter("give either -c/--config or --cluster")


def _check_replaced(
    names: Sequence[str], addresses: Sequence[HostAddress]
) -> frozenset[HostAddress]:
    chosen: set[HostAddress] = set()
    for name in names:
        meant = {a for a in addresses if name in (a.host, str(a))}
        if not meant:
            raise ConfigError(
                f"--replace {name}: the cluster file has no such host",
                remedy=f"it has {', '.join(map(str, addresses))}",
            )
        chosen |= meant
    return frozenset(chosen)


def _trust_all(
    addresses: Sequence[HostAddress], replaced: frozenset[HostAddress], *, is_agreed: bool
) -> list[Result]:
    """Work hop by hop: hosts behind a bastion are reachable only once it is trusted."""
    results: list[Result] = []
    for _, wave in groupby(addresses, key=_hops):
        keys = HostKeys(SshPool(SystemClock(), SystemRandom()))
        # Ask outside the event loop, so that Ctrl-C ends the prompt.
        found = asyncio.run(_look_at(keys, list(wave)))
        _show(found)
        results += _pin(keys, found, replaced, is_agreed=is_agreed)
    return results


async def _look_at(keys: HostKeys, wave: Sequence[HostAddress]) -> list[Result]:
    try:
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(_look(keys, a), name=f"look at {a}") for a in wave]
        return [task.result() for task in looks]
    finally:
        await keys.close()


async def _look(keys: HostKeys, address: HostAddress) -> Result:
    try:
        return Result(address, await keys.look(address))
    except RemoteError as exc:
        return Result(address, None, problem=str(exc))


def _pin(
    keys: HostKeys, found: Sequence[Result], replaced: frozenset[HostAddress], *, is_agreed: bool
) -> Iterator[Result]:
    wanted = [
        result.key
        for result in found
        if result.key is not None
        and (result.key.trust is Trust.NEW or _is_replaced(result.key, replaced))
    ]
    is_agreed = bool(wanted) and (is_agreed or _ask(len(wanted)))
    for result in found:
        key = result.key
        if key is None or key.trust in _SAFE:
            yield result
        elif key not in wanted:
            yield Result(result.address, key, problem=_refusal(key))
        elif not is_agreed:
            yield Result(result.address, key, problem="not pinned: nobody agreed")
        else:
            for other in keys.pin(key):
                _say(f"{result.address}: a pattern in the file still trusts {other}, too")
            yield Result(result.address, key, pinned=True)


def _is_replaced(key: HostKey, replaced: frozenset[HostAddress]) -> bool:
    return key.trust is Trust.CHANGED and key.address in replaced


def _refusal(key: HostKey) -> str:
    if key.trust is Trust.REVOKED:
        return "its key is marked @revoked: give the host a new one"
    return (
        f"another key is pinned ({', '.join(key.pinned)}): somebody may be in between. If the host "
        f"was really set up anew: --replace '{key.address}'"
    )


def _show(found: Sequence[Result]) -> None:
    for result in found:
        key = result.key
        if key is None:
            _say(f"{result.address}  {result.problem}")
            continue
        _say(f"{result.address}  {key.algorithm}  {key.fingerprint}  {key.trust.value}")
        if key.trust in (Trust.CHANGED, Trust.REVOKED):
            _say(f"{' ' * len(str(result.address))}  {_refusal(key)}")


def _ask(count: int) -> bool:
    what = "this key" if count == 1 else f"these {count} keys"
    sys.stderr.write(f"compare with the hosts' own (ssh-keygen -l). Pin {what}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in _YES


def _say(line: str) -> None:
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


def _way_to(address: HostAddress) -> Iterator[HostAddress]:
    if address.jump is not None:
        yield from _way_to(address.jump)
    yield address


def _hops(address: HostAddress) -> int:
    return len(list(_way_to(address))) - 1


def _identity(address: HostAddress) -> tuple[object, ...]:
    """Return what distinguishes host keys: route and known_hosts, not login users or keys."""
    way = tuple((hop.host, hop.port) for hop in _way_to(address))
    return (*way, address.known_hosts)
