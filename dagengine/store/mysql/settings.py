"""Where the database of a shared store is, and the time limits of its sessions."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dagengine.errors import ConfigError
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.watched_file import PasswordFile
from dagengine.store import messages

DEFAULT_LEASE_S = 2.5
_DEFAULT_PORT = 2881
_DATABASE = re.compile(r"[A-Za-z0-9_]{1,64}")
_MAX_TRANSACTION_S = 2.0


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Time limits of a database session, in seconds.

    Attributes:
        lock_s: wait for a row lock.
        statement_s: one statement.
        transaction_s: one transaction; then its row locks are released, also if its client is
            frozen. In seekdb 1.4 only ob_trx_timeout ends such a transaction: with 4 s it ended
            after 4.1 s, whatever the value of ob_trx_idle_timeout.
        response_s: how long the client waits for a response; more than the server needs to end the
            statement itself.
    """

    lock_s: float = 2.0
    statement_s: float = 4.0
    transaction_s: float = _MAX_TRANSACTION_S
    response_s: float = 8.0


@dataclass(frozen=True, slots=True)
class MysqlSettings:
    """The database of a shared store.

    Attributes:
        host: name or address.
        database: name of the database, of letters, digits and underscores.
        password: the password of `user`; empty for an account without a password.
        lease_s: after this time without a heartbeat a controller is declared dead, 2 to 60; no
            transaction lasts longer.
        tls: the trusted CA certificates, see `make_tls_context`; None for plain text, which is
            refused beyond this machine.
    """

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    lease_s: float = DEFAULT_LEASE_S
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def limits(self) -> SessionLimits:
        """Return the limits of the sessions of a controller."""
        return SessionLimits(transaction_s=min(_MAX_TRANSACTION_S, self.lease_s))

    def __str__(self) -> str:
        return f"mysql://{self.user}@{render_host_port(self.host, self.port)}/{self.database}"


def parse_store_url(
    url: str,
    *,
    password_file: Path | None = None,
    tls_ca_file: Path | None = None,
    lease_s: float = DEFAULT_LEASE_S,
) -> MysqlSettings:
    """Parse `mysql://user@host:port/database`.

    Args:
        url: the address; the port is 2881 if it is missing.
        password_file: file whose first line is the password; None for an account without one.
        tls_ca_file: PEM file with the CA certificates to trust for the database's certificate;
            None for those of the system. A connection to this machine uses TLS if it is set,
            every other connection always does.
        lease_s: see MysqlSettings.

    Raises:
        ConfigError: the address is invalid or contains a password, or a file cannot be read.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORT
    except ValueError as exc:
        raise ConfigError(messages.URL_INVALID(), remedy=messages.WRITE_URL()) from exc
    if parts.password is not None:  # do not quote the text, which contains it
        raise ConfigError(messages.URL_HAS_PASSWORD(), remedy=messages.USE_PASSWORD_FILE())
    database, user = parts.path.removeprefix("/"), unquote(parts.username or "")
    is_complete = parts.scheme == "mysql" and host and user and not (parts.query or parts.fragment)
    if not is_complete or not _DATABASE.fullmatch(database):
        raise ConfigError(messages.URL_INVALID(), remedy=messages.WRITE_URL())
    password = "" if password_file is None else read_password(password_file)
    is_encrypted = tls_ca_file is not None or not is_loopback(host)
    tls = make_tls_context(tls_ca_file) if is_encrypted else None
    return MysqlSettings(host, port, user, database, password, lease_s, tls)


def make_tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the settings for TLS to the database: its certificate and name are verified.

    Args:
        ca_file: PEM file with the trusted CA certificates; None for those of the system.

    Raises:
        ConfigError: the file cannot be read or has no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:  # ssl.SSLError as well
        reason = getattr(exc, "reason", None) or exc.strerror or exc
        raise ConfigError(
            messages.CA_FILE_UNUSABLE(path=ca_file, reason=reason), remedy=messages.NAME_CA_FILE()
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_password(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        ConfigError: the file cannot be read, or its first line is empty.
    """
    password = PasswordFile(path, "store.password_file").read()
    if not password.strip():
        raise ConfigError(messages.PASSWORD_EMPTY(path=path), remedy=messages.WRITE_PASSWORD())
    return password


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, so that no network carries the connection."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
