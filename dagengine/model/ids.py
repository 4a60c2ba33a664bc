"""Generic ids, which identify DAGs, nodes and sub-tasks on the wire (protocol 4.5).

An id consists of a prefix digit, the agent's ip as a decimal number of fixed width, its port
in five digits, and the row id. An id with prefix 1 has no address. Decoding accepts every id
that OBShell accepts, including malformed ones, because clients may hold such ids.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

from dagengine.errors import InvalidId
from dagengine.model import messages
from dagengine.runtime.addresses import render_host_port

_PORT_DIGITS = 5
_MAX_INT64 = 2**63 - 1
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class IdKind(StrEnum):
    """The kind of owner of the row that an id identifies."""

    CLUSTER = "cluster"
    LOCAL = "local"
    OBPROXY = "obproxy"


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """The advertised address of an agent; in this program, of the controller."""

    ip: str
    port: int

    def __str__(self) -> str:
        return render_host_port(self.ip, self.port)


@dataclass(frozen=True, slots=True)
class GenericId:
    """A decoded id. `agent` is None for cluster ids."""

    kind: IdKind
    row_id: int
    agent: AgentAddress | None


@dataclass(frozen=True, slots=True)
class _Layout:
    kind: IdKind
    ip_digits: int
    ip_bits: int


_LAYOUTS = {
    "2": _Layout(IdKind.LOCAL, 10, 32),
    "3": _Layout(IdKind.LOCAL, 39, 128),
    "4": _Layout(IdKind.OBPROXY, 10, 32),
    "5": _Layout(IdKind.OBPROXY, 39, 128),
}


def encode_id(kind: IdKind, agent: AgentAddress | None, row_id: int) -> str:
    """Return the id of a row. An IPv4-mapped IPv6 address is encoded as IPv4."""
    if kind is IdKind.CLUSTER or agent is None:
        return f"1{row_id}"
    ip = ipaddress.ip_address(agent.ip)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    prefix = next(
        digit
        for digit, layout in _LAYOUTS.items()
        if layout.kind is kind and layout.ip_bits == ip.max_prefixlen
    )
    width = _LAYOUTS[prefix].ip_digits
    return f"{prefix}{int(ip):0{width}d}{agent.port:0{_PORT_DIGITS}d}{row_id}"


def decode_id(text: str) -> GenericId:
    """Decode an id.

    Raises:
        InvalidId: the text is not a valid id; the message names the invalid part.
    """
    if text[:1] == "1" and len(text) > 1:
        return GenericId(IdKind.CLUSTER, _parse_row(text, text[1:]), None)
    layout = _LAYOUTS.get(text[:1])
    if layout is None:
        raise InvalidId(text, "" if text == "1" else messages.GENERIC_ID_INVALID())
    ip_end = 1 + layout.ip_digits
    port_end = ip_end + _PORT_DIGITS
    if len(text) <= port_end:
        raise InvalidId(text)
    ip = _parse_ip(text, text[1:ip_end], layout)
    port = _parse_port(text, text[ip_end:port_end])
    return GenericId(layout.kind, _parse_row(text, text[port_end:]), AgentAddress(ip, port))


def decode_id_at(text: str, agent: AgentAddress) -> GenericId:
    """Decode an id that was sent to `agent`.

    The agent's own ids are recognized by the prefix with which they were issued. Otherwise some
    of them would not decode to the same agent: those of an address with a leading zero byte, of
    an IPv4-mapped address, and of an address in an unusual notation.

    Raises:
        InvalidId: the text is not a valid id; the message names the invalid part.
    """
    front = encode_id(IdKind.LOCAL, agent, 0)[:-1]
    digits = text.removeprefix(front)
    if digits != text and _INTEGER.fullmatch(digits):
        return GenericId(IdKind.LOCAL, _parse_row(text, digits), agent)
    return decode_id(text)


class OwnIds:
    """The generic ids of one controller's own rows.

    Attributes:
        agent: the address in the ids. The engine replaces it by the one that its store contains.
    """

    def __init__(self, agent: AgentAddress) -> None:
        self.agent = agent

    def render(self, row_id: int) -> str:
        """Return the id of a row."""
        return encode_id(IdKind.LOCAL, self.agent, row_id)

    def find_row_id(self, text: str) -> int | None:
        """Return the row that an id identifies; None for another agent's id or an invalid one."""
        try:
            decoded = decode_id_at(text, self.agent)
        except InvalidId:
            return None
        return decoded.row_id if decoded.agent == self.agent else None


def _parse_ip(text: str, digits: str, layout: _Layout) -> str:
    if not _INTEGER.fullmatch(digits):
        raise InvalidId(text, messages.GENERIC_ID_NUMBER())
    value = abs(int(digits))
    # OBShell drops leading zero bytes, so only values of exactly 4 or 16 bytes are addresses.
    # Source: vectors.json, generic_ids.
    size = (value.bit_length() + 7) // 8
    if value >= 2**layout.ip_bits or size not in (4, 16):
        raise InvalidId(text, messages.GENERIC_ID_IP())
    return str(ipaddress.IPv4Address(value) if size == 4 else ipaddress.IPv6Address(value))


def _parse_port(text: str, digits: str) -> int:
    if not _INTEGER.fullmatch(digits):
        raise InvalidId(text, messages.GENERIC_ID_PORT())
    return int(digits)


def _parse_row(text: str, digits: str) -> int:
    if not _INTEGER.fullmatch(digits):
        raise InvalidId(text, messages.ROW_ID_NUMBER(digits=digits))
    row_id = int(digits)
    if not -_MAX_INT64 - 1 <= row_id <= _MAX_INT64:
        raise InvalidId(text, messages.ROW_ID_RANGE(digits=digits))
    return row_id
