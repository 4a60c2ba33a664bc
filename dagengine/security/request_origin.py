"""Rules for the headers Host and Origin, against web pages that act through a user's browser.

A page can make the browser send requests to this machine under the page's own name, which it
resolves to 127.0.0.1 (DNS rebinding), or across origins. Only browsers send an Origin.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dagengine.security.errors import HostNotAllowed, OriginNotAllowed

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:@/?#\[\]\\]+))(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """Host and port of a URL or of a Host header.

    Attributes:
        host: lower case, without brackets and without the root dot.
        port: None if the default port of the scheme applies.
    """

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The hosts and origins that requests may name.

    Attributes:
        hosts: names by which clients reach the controller, besides IP addresses and `localhost`.
        advertised: the address that is part of ids.
    """

    hosts: frozenset[str] = frozenset()
    advertised: Authority | None = None

    @classmethod
    def create(cls, hosts: Iterable[str], advertised: tuple[str, int]) -> OriginPolicy:
        """Return the policy of `api.allowed_hosts` and `api.advertise`."""
        return cls(frozenset(map(normalise_host, hosts)), Authority(*advertised))

    def check(
        self,
        hosts: Sequence[str],
        origins: Sequence[str],
        *,
        is_local: bool,
        needs_host: bool,
        is_page: bool = False,
    ) -> None:
        """Accept the headers of a request.

        Args:
            hosts: the values of all headers `Host`.
            origins: the values of all headers `Origin`.
            is_local: the request came over the unix socket. Programs send any Host there, but
                `ssh -L` lets the pages of a browser reach the socket. A name with a dot can belong
                to such a page, so it must be an own name.
            needs_host: the request must have a Host, as in HTTP/1.1.
            is_page: the request is for a page, so that it comes from a browser.

        Raises:
            HostNotAllowed: the Host is missing or is the name of another host.
            OriginNotAllowed: a page of another origin sent the request.
        """
        host = parse_authority(hosts[0]) if len(hosts) == 1 else None
        is_unchecked = is_local and not is_page and (host is None or "." not in host.host)
        if not is_unchecked and (hosts or needs_host) and not self._is_own_host(host):
            raise HostNotAllowed(", ".join(hosts))
        if origins and not (len(origins) == 1 and self._is_own_origin(origins[0], host)):
            raise OriginNotAllowed(", ".join(origins))

    def _is_own_host(self, host: Authority | None) -> bool:
        if host is None:
            return False
        is_advertised = self.advertised is not None and host.host == self.advertised.host
        return (
            host.host == "localhost"
            or host.host in self.hosts
            or is_advertised
            or _is_ip_address(host.host)
        )

    def _is_own_origin(self, text: str, host: Authority | None) -> bool:
        origin = parse_origin(text)
        if origin is None or not self._is_own_host(origin.authority):
            return False
        if origin.authority == self.advertised or origin.authority.host in self.hosts:
            return True  # a proxy may have replaced the Host
        return host is not None and with_port(origin.authority, origin.scheme) == with_port(
            host, origin.scheme
        )


class Origin(NamedTuple):
    """The parts of a header Origin; `scheme` is http or https."""

    scheme: str
    authority: Authority


def parse_origin(text: str) -> Origin | None:
    """Parse `http://host:port`; None for anything else, such as `null`."""
    match = _ORIGIN.fullmatch(text)
    authority = parse_authority(match[2]) if match else None
    return None if match is None or authority is None else Origin(match[1], authority)


def parse_authority(text: str) -> Authority | None:
    """Parse `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; None for anything else."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or not text.isascii():
        return None
    ipv6, name, port = match.groups()
    if ipv6 is not None:
        if not _is_ip_address(ipv6):
            return None
        return Authority(ipv6.lower(), None if port is None else int(port))
    return Authority(normalise_host(name), None if port is None else int(port))


def normalise_host(name: str) -> str:
    """Return a host name in lower case, without the dot of the DNS root."""
    return name.lower().removesuffix(".")


def with_port(authority: Authority, scheme: str) -> Authority:
    """Return the authority with its port, which may be the default port of the scheme."""
    port = _DEFAULT_PORTS[scheme] if authority.port is None else authority.port
    return authority._replace(port=port)


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
