"""Connections to the database of a shared store, with verified session variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from dagengine.errors import ConfigError, MessageText, StoreUnavailable
from dagengine.mysql import (
    Connection,
    MysqlAccessDenied,
    MysqlError,
    MysqlServerError,
    MysqlTlsRefused,
    Options,
    Row,
    Tls,
    TlsFailure,
    Value,
    connect,
)
from dagengine.store import messages
from dagengine.store.mysql.settings import MysqlSettings, SessionLimits, is_loopback

MIN_PACKET_BYTES: Final = 1 << 20
"""The smallest `max_allowed_packet` of a usable database."""

_OPTIONS = Options(found_rows=True, multi_statements=True)
_UNKNOWN_DATABASE = 1049


class Dialect(StrEnum):
    """The kinds of databases, which differ in the names of session variables.

    Attributes:
        MYSQL_MODE: a MySQL-mode tenant of OceanBase, or a seekdb server.
    """

    MYSQL_MODE = "mysql_mode"
    MARIADB = "mariadb"


async def open_store_connection(
    settings: MysqlSettings, limits: SessionLimits | None = None
) -> Connection:
    """Connect to the database, set the session variables and read them back.

    Args:
        settings: the database.
        limits: time limits of the session; those of `settings` if None.

    Raises:
        ConfigError: the database is beyond this machine, and the settings have no TLS.
        StoreUnavailable: the database cannot be reached or rejects the login, does not have a
            valid certificate, is of an unsupported kind, or does not accept the session variables.
    """
    limits = settings.limits if limits is None else limits
    tls = find_tls(settings)
    try:
        connection = await connect(
            (settings.host, settings.port),
            user=settings.user,
            password=settings.password,
            options=Options(settings.database, _OPTIONS.found_rows, _OPTIONS.multi_statements),
            timeout_s=limits.response_s,
            tls=tls,
        )
    except MysqlError as exc:
        raise connect_error(settings, exc) from exc
    try:
        await _set_up(connection, settings, limits)
    except MysqlError as exc:
        connection.close()
        raise connect_error(settings, exc) from exc
    except BaseException:
        connection.close()
        raise
    return connection


def find_tls(settings: MysqlSettings) -> Tls | None:
    """Return what the connection requires of the server; None for plain text on this machine.

    Raises:
        ConfigError: the database is beyond this machine, and the settings have no TLS.
    """
    if settings.tls is not None:
        return Tls(settings.tls, settings.host)
    if not is_loopback(settings.host):
        raise ConfigError(messages.TLS_MISSING(host=settings.host), remedy=messages.USE_TLS())
    return None


def connect_error(settings: MysqlSettings, exc: MysqlError) -> StoreUnavailable:
    """Return the error for a database that cannot be used."""
    if isinstance(exc, MysqlTlsRefused):
        remedy: str = _tls_remedy(exc.failure, settings.host)
    elif isinstance(exc, MysqlAccessDenied):
        remedy = messages.CHECK_ACCOUNT()
    elif isinstance(exc, MysqlServerError) and exc.number == _UNKNOWN_DATABASE:
        remedy = messages.CREATE_DATABASE(database=settings.database)
    else:
        remedy = exc.remedy or messages.CHECK_DATABASE()
    return StoreUnavailable(
        messages.DATABASE_UNUSABLE(store=settings, reason=exc.message), remedy=remedy
    )


def _tls_remedy(failure: TlsFailure, host: str) -> MessageText:
    match failure:
        case TlsFailure.NOT_OFFERED:
            return messages.OFFER_TLS()
        case TlsFailure.UNTRUSTED:
            return messages.TRUST_CA()
        case TlsFailure.OTHER_NAME:
            return messages.USE_CERTIFIED_NAME(host=host)
        case TlsFailure.EXPIRED | TlsFailure.NOT_YET_VALID:
            return messages.RENEW_CERTIFICATE()
        case TlsFailure.HANDSHAKE:
            return messages.CHECK_TLS()


async def find_dialect(connection: Connection) -> Dialect | None:
    """Return the kind of a database; None if it is not supported.

    Raises:
        MysqlError: the database does not answer.
    """
    ((version, comment),) = (await connection.query("SELECT version(), @@version_comment")).rows
    text = f"{version!s} {comment!s}"
    if "OceanBase" in text:
        return Dialect.MYSQL_MODE
    return Dialect.MARIADB if "MariaDB" in text else None


def session_variables(dialect: Dialect, limits: SessionLimits) -> Mapping[str, int | float | str]:
    """Return the variables of a session.

    STRICT_ALL_TABLES makes NULL in the column `commit_no` an error; READ COMMITTED makes a guarded
    statement see the newest rows.
    """
    shared: dict[str, int | float | str] = {"sql_mode": "STRICT_ALL_TABLES", "autocommit": 1}
    match dialect:
        case Dialect.MYSQL_MODE:
            return shared | {
                "tx_isolation": "READ-COMMITTED",
                "ob_trx_lock_timeout": _microseconds(limits.lock_s),
                "ob_query_timeout": _microseconds(limits.statement_s),
                "ob_trx_timeout": _microseconds(limits.transaction_s),
                "ob_trx_idle_timeout": _microseconds(limits.transaction_s),
            }
        case Dialect.MARIADB:  # whole seconds, except for statements
            return shared | {
                "tx_isolation": "READ-COMMITTED",
                "innodb_lock_wait_timeout": max(1, int(limits.lock_s)),
                "max_statement_time": limits.statement_s,
                "idle_transaction_timeout": max(1, int(limits.transaction_s)),
            }


def find_different(
    wanted: Mapping[str, int | float | str], values: Sequence[Value]
) -> tuple[str, object] | None:
    """Return the first variable whose value was not accepted, with the actual value."""
    for (name, value), actual in zip(wanted.items(), values, strict=True):
        if isinstance(value, float) and isinstance(actual, int | float):
            is_equal = float(actual) == value
        else:
            is_equal = str(actual) == str(value)
        if not is_equal:
            return name, actual
    return None


async def _set_up(connection: Connection, settings: MysqlSettings, limits: SessionLimits) -> None:
    dialect = await find_dialect(connection)
    if dialect is None:
        raise StoreUnavailable(
            messages.DATABASE_UNSUPPORTED(store=settings, version=connection.greeting.version),
            remedy=messages.USE_OCEANBASE(),
        )
    wanted = session_variables(dialect, limits)
    settings_text = ", ".join(f"{name} = {_literal(value)}" for name, value in wanted.items())
    await connection.query(f"SET SESSION {settings_text}")
    names = ", ".join(f"@@{name}" for name in (*wanted, "max_allowed_packet"))
    row = await read_row(connection, f"SELECT {names}")
    packet_bytes = row[-1]
    different = find_different(wanted, row[:-1])
    if different is None and isinstance(packet_bytes, int) and packet_bytes < MIN_PACKET_BYTES:
        different = "max_allowed_packet", packet_bytes
    if different is not None:
        name, actual = different
        raise StoreUnavailable(
            messages.VARIABLE_DIFFERS(store=settings, name=name, value=actual),
            remedy=messages.ALLOW_VARIABLE(name=name),
        )


async def read_row(connection: Connection, statement: str) -> Row:
    """Return the only row of a result.

    Raises:
        MysqlError: the statement failed.
    """
    (row,) = (await connection.query(statement)).rows
    return row


def _literal(value: float | str) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
