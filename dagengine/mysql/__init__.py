"""A MySQL client in which the peer decides nothing: a public module.

Capability flags, authentication plugin, character set, packet size and the refusal of LOCAL INFILE
are fixed in `protocol.py`; whatever a peer sends becomes a result or one of the errors of
`errors.py`. docs/decisions/0013-a-mysql-client-of-our-own.md says why.
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
)
from dagengine.mysql.protocol import Greeting, Options
from dagengine.mysql.text import hex_literal, quote_text, show_text

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
    "Options",
    "Result",
    "Row",
    "Value",
    "connect",
    "hex_literal",
    "open_connection",
    "quote_text",
    "show_text",
]
