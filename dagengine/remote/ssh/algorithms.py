"""The algorithms that a host's sshd offers, and the reason why none is common.

If no algorithm is common, sshd closes the connection without a message, so the SSH library may see
only the end of the connection. sshd's offer (SSH_MSG_KEXINIT) is public and unencrypted.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import asyncssh

from dagengine.remote import messages

# Prefer the cheapest of the secure algorithms; all other defaults of the library follow.
KEX_ALGORITHMS = "^curve25519-sha256"
CIPHERS = "^aes128-gcm@openssh.com"

_VERSION = b"SSH-2.0-dagengine\r\n"
_KEXINIT = 20
_COOKIE_BYTES = 16
_LONGEST_PACKET_BYTES = 35_000  # Source: RFC 4253, section 6.1
_MOST_LINES = 50  # before the version, see RFC 4253, section 4.2
_LISTED = 4
# A cipher with its own integrity check; the MAC is not negotiated then.
_WITH_INTEGRITY = ("-gcm@openssh.com", "chacha20-poly1305@openssh.com")


@dataclass(frozen=True, slots=True)
class Algorithms:
    """Names of algorithms, the preferred one first, by the keywords of sshd_config."""

    kex: Sequence[str]
    host_keys: Sequence[str]
    ciphers: Sequence[str]
    macs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A kind of algorithm of which none is common.

    Attributes:
        keyword: of sshd_config.
        subject: the kind, for messages.
        offered: by sshd; shortened for messages.
        supported: by this process; shortened for messages.
    """

    keyword: str
    subject: str
    offered: str
    supported: str


def supported_algorithms(host_keys: Sequence[str]) -> Algorithms:
    """Return the algorithms that a login offers; `host_keys` depends on the known_hosts file."""
    options = asyncssh.SSHClientConnectionOptions(
        kex_algs=KEX_ALGORITHMS, encryption_algs=CIPHERS, config=None, client_keys=None
    )
    kex, ciphers, macs = (
        [name.decode("ascii") for name in names if not name.startswith(b"gss-")]
        for names in (options.kex_algs, options.encryption_algs, options.mac_algs)
    )
    return Algorithms(kex, host_keys, ciphers, macs)


def find_mismatch(offered: Algorithms, supported: Algorithms) -> Mismatch | None:
    """Return the first kind of algorithm of which none is common; None if there is none.

    An empty list of supported host key algorithms stands for all.
    """
    kinds = [
        ("KexAlgorithms", messages.KEY_EXCHANGE(), offered.kex, supported.kex),
        ("HostKeyAlgorithms", messages.HOST_KEYS(), offered.host_keys, supported.host_keys),
        ("Ciphers", messages.ENCRYPTION(), offered.ciphers, supported.ciphers),
    ]
    cipher = next((name for name in supported.ciphers if name in offered.ciphers), "")
    if not cipher.endswith(_WITH_INTEGRITY):
        kinds.append(("MACs", messages.AUTHENTICATION_CODES(), offered.macs, supported.macs))
    for keyword, subject, theirs, ours in kinds:
        is_any = keyword == "HostKeyAlgorithms" and not ours
        if not is_any and not set(theirs) & set(ours):
            return Mismatch(keyword, subject, _shorten(theirs), _shorten(ours))
    return None


def parse_kexinit(payload: bytes) -> Algorithms:
    """Parse the payload of SSH_MSG_KEXINIT, RFC 4253, section 7.1.

    Raises:
        ValueError: it is another message, or malformed.
    """
    if payload[:1] != bytes([_KEXINIT]):
        raise ValueError("not SSH_MSG_KEXINIT")
    lists, rest = [], payload[1 + _COOKIE_BYTES :]
    for _ in range(6):  # key exchange, host keys, ciphers and MACs in both directions
        length = int.from_bytes(rest[:4], "big")
        if len(rest) < 4 + length:
            raise ValueError("SSH_MSG_KEXINIT is cut off")
        lists.append([name for name in rest[4 : 4 + length].decode("ascii").split(",") if name])
        rest = rest[4 + length :]
    kex = [name for name in lists[0] if not name.startswith(("ext-info-", "kex-strict-"))]
    return Algorithms(kex, lists[1], lists[2], lists[4])


async def read_offer(
    host: str, port: int, bastion: asyncssh.SSHClientConnection | None
) -> Algorithms | None:
    """Return the algorithms that the sshd at an address offers; None if it does not tell.

    The caller must set a time limit.
    """
    try:
        if bastion is None:
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_VERSION)
                return parse_kexinit(await _read_payload(reader))
            finally:
                writer.close()
        far_reader, far_writer = await bastion.open_connection(host, port)
        try:
            far_writer.write(_VERSION)
            return parse_kexinit(await _read_payload(far_reader))
        finally:
            far_writer.close()
    except (OSError, EOFError, ValueError, struct.error, asyncssh.Error):
        return None


async def _read_payload(reader: asyncio.StreamReader | asyncssh.SSHReader[bytes]) -> bytes:
    """Return the payload of the first packet after the version."""
    for _ in range(_MOST_LINES):
        if (await reader.readuntil(b"\n")).startswith(b"SSH-"):
            break
    length, padding = struct.unpack(">IB", await reader.readexactly(5))
    if not padding < length <= _LONGEST_PACKET_BYTES:
        raise ValueError("not an SSH packet")
    return (await reader.readexactly(length - 1))[: length - 1 - padding]


def _shorten(names: Sequence[str]) -> str:
    listed = list(names[:_LISTED])
    if len(names) > len(listed):
        listed.append("…")
    return ", ".join(listed) or messages.NO_ALGORITHM()
