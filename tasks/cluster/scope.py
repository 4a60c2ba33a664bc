"""The scope of a request, and its resolution to servers (protocol 3.1). Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tasks.cluster import messages
from tasks.errors import (
    InvalidAddress,
    InvalidIp,
    InvalidPort,
    ScopeInvalid,
    ServerNotExist,
    TargetEmpty,
    ZoneNotExist,
)

_DEFAULT_PORT = 2886
_PORTS = range(1025, 65536)
_HEX_RUN = re.compile(r"[0-9a-fA-F:]+")


class ScopeKind(StrEnum):
    """Kind of a scope, as on the wire."""

    GLOBAL = "GLOBAL"
    ZONE = "ZONE"
    SERVER = "SERVER"


@dataclass(frozen=True, slots=True)
class RequestedScope:
    """A valid scope, as requested.

    Attributes:
        kind: what the names in `target` mean.
        target: names of zones, or `ip:port` of servers; empty for GLOBAL.
    """

    kind: ScopeKind
    target: tuple[str, ...] = ()


class NamedServer(Protocol):
    """The part of a server that a scope refers to."""

    @property
    def name(self) -> str: ...

    @property
    def ip(self) -> str: ...

    @property
    def agent_port(self) -> int: ...

    @property
    def zone(self) -> str: ...


def resolve_scope(
    servers: Iterable[NamedServer], scope_type: str, targets: Iterable[str]
) -> tuple[str, ...]:
    """Return the names of the servers in scope, in the cluster's order, without duplicates.

    Args:
        servers: all servers of the cluster.
        scope_type: GLOBAL, ZONE or SERVER in any case.
        targets: zones or servers; ignored for GLOBAL.

    Raises:
        ApiError: a target is wrong; reports the first one in the request's order.
    """
    known_servers = list(servers)
    names_in_request = list(dict.fromkeys(targets))
    kind = scope_type.upper()
    if kind not in tuple(ScopeKind):
        raise ScopeInvalid(messages.SCOPE_INVALID(scope=kind), remedy=messages.SEND_SCOPE())
    if kind == ScopeKind.GLOBAL:
        return tuple(server.name for server in known_servers)
    if not names_in_request:
        raise TargetEmpty(messages.TARGET_EMPTY())
    if kind == ScopeKind.ZONE:
        zones = {server.zone for server in known_servers}
        for zone in names_in_request:
            if zone not in zones:
                raise ZoneNotExist(messages.ZONE_UNKNOWN(zone=zone), remedy=_list(zones))
        selected = set(names_in_request)
        return tuple(server.name for server in known_servers if server.zone in selected)
    pairs = {(server.ip, server.agent_port): server.name for server in known_servers}
    names = set()
    for text in names_in_request:
        try:
            pair = parse_address(text)
        except (InvalidAddress, InvalidIp, InvalidPort) as exc:
            # The message is that of OBShell, which may quote only a part of the address.
            known = ", ".join(sorted(pairs.values()))
            exc.remedy = messages.WRITE_ADDRESS(address=text, names=known)
            raise
        if pair not in pairs:
            raise ServerNotExist(messages.SERVER_UNKNOWN(server=text), remedy=_list(pairs.values()))
        names.add(pairs[pair])
    return tuple(server.name for server in known_servers if server.name in names)


def parse_address(text: str) -> tuple[str, int]:
    """Return a server's ip text and agent port from an address in a request.

    Raises:
        InvalidAddress, InvalidPort, InvalidIp: that part of the address is wrong.
    """
    if "." not in text:
        return _parse_ipv6(text)
    if text.count(":") > 1:
        raise InvalidAddress(messages.ADDRESS_INVALID(address=text))
    ip, colon, port_text = text.partition(":")
    if not colon:
        return ip, _DEFAULT_PORT
    port = _parse_port(port_text)
    try:
        ipaddress.IPv4Address(ip)
    except ValueError:
        raise InvalidIp(messages.IP_INVALID(ip=ip)) from None
    return ip, port


def _parse_ipv6(text: str) -> tuple[str, int]:
    match = _HEX_RUN.search(text)
    if match is None:
        raise InvalidAddress(messages.ADDRESS_INVALID(address=text))
    ip, suffix = match[0], text[match.end() :]
    port = _parse_port(suffix[2:]) if suffix.startswith("]:") else _DEFAULT_PORT
    try:
        ipaddress.IPv6Address(ip)
    except ValueError:
        raise InvalidIp(messages.IP_INVALID(ip=ip)) from None
    return ip, port


def _parse_port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text[:6]) in _PORTS and len(text) < 6:
        return int(text)
    raise InvalidPort(messages.PORT_INVALID(port=text))


def _list(names: Iterable[str]) -> str:
    return messages.NAME_KNOWN(names=", ".join(sorted(names)))
