"""A MySQL client whose settings the peer cannot influence: a public module.

The capability flags, the authentication plugin, the character set, the packet size and the
rejection of LOCAL INFILE are fixed in this package, most of them in `protocol.py`. Everything that
a peer sends becomes a result or one of the errors in `errors.py`. For the reasons, see
docs/decisions/0013-a-mysql-client-of-our-own.md.
"""

from __future__ import annotations

from dagengine.mysql.answer import Bounds, Result, Row, Value
from dagengine.mysql.connection import Address, BeforeLogin, Connection, connect, open_connection
from dagengine.mysql.errors import (
    MysqlAccessDenied,
    MysqlAuthPluginRefused,
    MysqlConnectionLost,
    MysqlError,
    MysqlProtocolError,
    MysqlRequestRefused,
    MysqlServerError,
    MysqlTimedOut,
    MysqlTlsRefused,
    TlsFailure,
)
from dagengine.mysql.protocol import Greeting, Options
from dagengine.mysql.text import hex_literal, quote_text, show_text
from dagengine.mysql.tls import Tls

__all__ = [
    "Address",
    "BeforeLogin",
    "Bounds",
    "Connection",
    "Greeting",
    "MysqlAccessDenied",
    "MysqlAuthPluginRefused",
    "MysqlConnectionLost",
    "MysqlError",
    "MysqlProtocolError",
    "MysqlRequestRefused",
    "MysqlServerError",
    "MysqlTimedOut",
    "MysqlTlsRefused",
    "Options",
    "Result",
    "Row",
    "Tls",
    "TlsFailure",
    "Value",
    "connect",
    "hex_literal",
    "open_connection",
    "quote_text",
    "show_text",
]
