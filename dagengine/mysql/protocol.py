"""The login and short responses; performs no I/O. Defines the capabilities of this client."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntFlag

from dagengine.mysql import messages
from dagengine.mysql.errors import (
    MysqlAccessDenied,
    MysqlAuthPluginRefused,
    MysqlProtocolError,
    MysqlRequestRefused,
    MysqlServerError,
    MysqlTlsRefused,
    TlsFailure,
)
from dagengine.mysql.packets import MAX_PACKET_BYTES, Fields
from dagengine.mysql.text import encode_text, show_text


class Capability(IntFlag):
    """The capability flags that this client uses. It never sets LOCAL_FILES."""

    LONG_PASSWORD = 1 << 0  # without this flag, MariaDB reads its own flags from the filler
    FOUND_ROWS = 1 << 1
    CONNECT_WITH_DB = 1 << 3
    PROTOCOL_41 = 1 << 9
    SSL = 1 << 11  # the client requests TLS before the login
    TRANSACTIONS = 1 << 13  # status flags in OK and EOF packets
    SECURE_CONNECTION = 1 << 15
    MULTI_STATEMENTS = 1 << 16
    MULTI_RESULTS = 1 << 17
    PLUGIN_AUTH = 1 << 19


NATIVE = "mysql_native_password"
AUTOCOMMIT, MORE_RESULTS = 1 << 1, 1 << 3
"""The status flags that this client evaluates."""

QUERY, QUIT = b"\x03", b"\x01"

OK, AUTH_MORE, LOCAL_INFILE, EOF, ERROR = 0x00, 0x01, 0xFB, 0xFE, 0xFF

_ALWAYS = (
    Capability.LONG_PASSWORD
    | Capability.PROTOCOL_41
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
)
_NEEDED = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH

# Default plugins that a server may announce. With either of them, the server switches to the plugin
# of the account, and the salt is usable for mysql_native_password.
_ANNOUNCED = frozenset({NATIVE, "caching_sha2_password"})

_PROTOCOL_VERSION = 10
_SALT_BYTES = 20
_UTF8MB4 = 45  # utf8mb4_general_ci, which every server since MySQL 5.5 has
_ACCESS_DENIED = 1045
_SQLSTATE_BYTES = 5
_EOF_BYTES, _MAX_EOF_BYTES = 5, 8


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a connection beyond the fixed capabilities.

    Attributes:
        found_rows: an UPDATE counts the rows that it matched, not those that it changed.
        multi_statements: one request may contain several statements.
    """

    database: str | None = None
    found_rows: bool = False
    multi_statements: bool = False

    @property
    def capabilities(self) -> Capability:
        """Return the flags to send; they do not depend on the flags that the server offers."""
        flags = _ALWAYS
        if self.database is not None:
            flags |= Capability.CONNECT_WITH_DB
        if self.found_rows:
            flags |= Capability.FOUND_ROWS
        if self.multi_statements:
            flags |= Capability.MULTI_STATEMENTS | Capability.MULTI_RESULTS
        return flags


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first packet of a server.

    Attributes:
        version: version of the server, safe to display.
        plugin: default plugin of the server, safe to display.
    """

    version: str
    thread_id: int
    capabilities: int
    salt: bytes
    plugin: str


@dataclass(frozen=True, slots=True)
class OkPacket:
    """An OK packet."""

    affected_rows: int
    last_insert_id: int
    status: int
    warnings: int


def parse_greeting(payload: bytes) -> Greeting:
    """Parse the greeting of a server and check that this client supports it.

    Raises:
        MysqlProtocolError: the greeting is malformed, or the server lacks a required capability.
        MysqlAuthPluginRefused: the server announces a plugin other than mysql_native_password and
            caching_sha2_password.
        MysqlServerError: the server rejects the connection.
    """
    if payload[:1] == bytes([ERROR]):
        raise parse_error(payload)
    fields = Fields(payload)
    if fields.take_int(1) != _PROTOCOL_VERSION:
        raise MysqlProtocolError(messages.NOT_MYSQL())
    version = show_text(fields.take_text())
    thread_id, salt = fields.take_int(4), fields.take(8)
    fields.take(1)
    low, _charset, _status, high = (fields.take_int(size) for size in (2, 1, 2, 2))
    capabilities = low | high << 16
    if missing := _NEEDED & ~Capability(capabilities & _NEEDED):
        raise MysqlProtocolError(messages.CAPABILITY_MISSING(capability=_names(missing)))
    salt_size = fields.take_int(1)
    fields.take(10)
    second = fields.take(max(13, salt_size - 8))
    plugin = show_text(fields.take_text())
    if plugin not in _ANNOUNCED:
        raise MysqlAuthPluginRefused(plugin)
    return Greeting(version, thread_id, capabilities, _check_salt(salt + second), plugin)


def render_tls_request(greeting: Greeting, options: Options) -> bytes:
    """Return the request to encrypt the connection, which contains no data of the user.

    Raises:
        MysqlTlsRefused: the server does not offer TLS.
        MysqlProtocolError: the server lacks a capability that the options require.
    """
    if not greeting.capabilities & Capability.SSL:
        raise MysqlTlsRefused(TlsFailure.NOT_OFFERED, messages.TLS_NOT_OFFERED())
    return _render_head(greeting, options, is_encrypted=True)


def render_login(
    greeting: Greeting, user: str, password: str, options: Options, *, is_encrypted: bool = False
) -> bytes:
    """Return the login request for a greeting.

    Args:
        greeting: the server's first packet.
        user: the account.
        password: empty for an account without a password.
        options: options beyond the fixed capabilities.
        is_encrypted: whether the connection uses TLS.

    Raises:
        MysqlRequestRefused: the user, the password or the database name cannot be encoded.
        MysqlProtocolError: the server lacks a capability that the options require.
    """
    head = _render_head(greeting, options, is_encrypted=is_encrypted)
    proof = scramble(password, greeting.salt)
    return b"".join(
        [
            head,
            _render_name(user, messages.USER()),
            bytes([len(proof)]),
            proof,
            b""
            if options.database is None
            else _render_name(options.database, messages.DATABASE()),
            NATIVE.encode(),
            b"\0",
        ]
    )


def scramble(password: str, salt: bytes) -> bytes:
    """Return the proof of the password for this salt; empty for an empty password.

    Raises:
        MysqlRequestRefused: the password is not Unicode.
    """
    if not password:
        return b""
    once = _sha1(encode_text(password, messages.PASSWORD()))
    mask = _sha1(salt + _sha1(once))
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def parse_auth_switch(payload: bytes) -> bytes:
    """Return the salt of a request to authenticate (again) with mysql_native_password.

    Raises:
        MysqlAuthPluginRefused: the server requests another plugin.
        MysqlProtocolError: the request is malformed.
    """
    if len(payload) == 1:
        raise MysqlAuthPluginRefused("mysql_old_password")
    fields = Fields(payload)
    fields.take(1)
    plugin = fields.take_text()
    if plugin != NATIVE.encode():
        raise MysqlAuthPluginRefused(show_text(plugin))
    return _check_salt(fields.take_rest())


def parse_ok(payload: bytes) -> OkPacket:
    """Parse an OK packet. Raises MysqlProtocolError for any other packet."""
    fields = Fields(payload)
    if fields.take_int(1) != OK:
        raise MysqlProtocolError(messages.OK_EXPECTED())
    affected, inserted = fields.take_length(), fields.take_length()
    return OkPacket(affected, inserted, fields.take_int(2), fields.take_int(2))


def is_eof(payload: bytes) -> bool:
    """Return whether this is an EOF packet rather than a row that begins with a long value."""
    return 0 < len(payload) <= _MAX_EOF_BYTES and payload[0] == EOF


def parse_eof(payload: bytes) -> int:
    """Return the status flags of an EOF packet. Raises MysqlProtocolError for any other packet."""
    if len(payload) != _EOF_BYTES or payload[0] != EOF:
        raise MysqlProtocolError(messages.END_EXPECTED())
    return payload[3] | payload[4] << 8


def parse_error(payload: bytes) -> MysqlServerError:
    """Return the error of an ERR packet. Raises MysqlProtocolError if its number is missing."""
    fields = Fields(payload)
    fields.take(1)
    number, text, sqlstate = fields.take_int(2), fields.take_rest(), b""
    if text[:1] == b"#" and len(text) > _SQLSTATE_BYTES:
        sqlstate, text = text[1 : 1 + _SQLSTATE_BYTES], text[1 + _SQLSTATE_BYTES :]
    kind = MysqlAccessDenied if number == _ACCESS_DENIED else MysqlServerError
    return kind(number, show_text(sqlstate), show_text(text) or messages.EMPTY_ERROR())


def _render_head(greeting: Greeting, options: Options, *, is_encrypted: bool) -> bytes:
    """Return the fields with which the login and the request for TLS begin."""
    flags = options.capabilities
    if missing := (flags & ~_ALWAYS) & ~Capability(greeting.capabilities & flags):
        raise MysqlProtocolError(messages.CAPABILITY_MISSING(capability=_names(missing)))
    if is_encrypted:
        flags |= Capability.SSL
    return b"".join(
        [
            flags.to_bytes(4, "little"),
            MAX_PACKET_BYTES.to_bytes(4, "little"),
            bytes([_UTF8MB4]),
            bytes(23),
        ]
    )


def _check_salt(raw: bytes) -> bytes:
    if len(raw) == _SALT_BYTES + 1 and raw[-1] == 0:
        raw = raw[:-1]
    if len(raw) != _SALT_BYTES:
        raise MysqlProtocolError(messages.SALT_SIZE(size=_SALT_BYTES))
    return raw


def _render_name(name: str, subject: str) -> bytes:
    raw = encode_text(name, subject)
    if b"\0" in raw:
        raise MysqlRequestRefused(messages.NUL_CHARACTER(subject=subject))
    return raw + b"\0"


def _names(flags: Capability) -> str:
    return ", ".join(flag.name or "" for flag in Capability if flag in flags)


def _sha1(raw: bytes) -> bytes:
    return hashlib.sha1(raw, usedforsecurity=False).digest()
