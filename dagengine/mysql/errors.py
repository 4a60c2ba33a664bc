"""Errors of the MySQL client.

    MysqlError
    ├── MysqlRequestRefused         the client rejects the request; nothing was sent
    ├── MysqlConnectionLost         the connection could not be opened, or it ended
    │   └── MysqlTimedOut           no complete response within the time limit
    ├── MysqlProtocolError          the peer violates the protocol or exceeds a limit
    ├── MysqlAuthPluginRefused      the peer requests another authentication plugin
    ├── MysqlTlsRefused             TLS is not offered, or the certificate is invalid
    └── MysqlServerError            the server responds with an error
        └── MysqlAccessDenied       user or password is wrong

Data from a peer never causes any other exception. The connection stays open only after
MysqlServerError and MysqlRequestRefused.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from dagengine.error_codes import Code
from dagengine.errors import DagengineError
from dagengine.mysql import messages


class MysqlError(DagengineError):
    """Base class of the errors of this package.

    Attributes:
        result_unknown: True if a statement was sent and its result was not received, so that it
            may have been executed.
    """

    err_code: ClassVar[str] = Code.SQL_ERROR
    result_unknown = False


class MysqlRequestRefused(MysqlError):
    """Raised when a request is too large, is not Unicode, or another one is in progress."""


class MysqlConnectionLost(MysqlError):
    """Raised when the connection cannot be opened or has ended."""


class MysqlTimedOut(MysqlConnectionLost):
    """Raised when no complete response arrives in time; the connection is closed."""


class MysqlProtocolError(MysqlError):
    """Raised when the peer violates the protocol or exceeds a limit; the connection is closed."""


class MysqlAuthPluginRefused(MysqlError):
    """Raised when the peer requests a plugin other than mysql_native_password.

    Attributes:
        plugin: name of the requested plugin, safe to display.
    """

    def __init__(self, plugin: str) -> None:
        super().__init__(
            messages.PLUGIN_REFUSED(plugin=plugin),
            remedy=messages.USE_NATIVE_PASSWORD(),
        )
        self.plugin = plugin


class TlsFailure(StrEnum):
    """Why a connection is not encrypted.

    Attributes:
        NOT_OFFERED: the server's greeting does not offer TLS, or a proxy has removed the offer.
        UNTRUSTED: no trusted CA has signed the certificate.
        OTHER_NAME: the certificate is for another name or address.
        HANDSHAKE: client and server do not agree, or the peer does not answer with TLS.
    """

    NOT_OFFERED = "not offered"
    UNTRUSTED = "untrusted"
    OTHER_NAME = "other name"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    HANDSHAKE = "handshake"


class MysqlTlsRefused(MysqlError):
    """Raised when TLS is required and not established; neither user nor proof was sent.

    Attributes:
        failure: the reason, for a remedy.
    """

    def __init__(self, failure: TlsFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class MysqlServerError(MysqlError):
    """Raised when the server responds with an error.

    Attributes:
        number: the error number that the server sent.
        sqlstate: five characters, or empty.
        text: the error text, safe to display on one line.
        completed: number of statements of the same request that were executed before.
    """

    completed = 0

    def __init__(self, number: int, sqlstate: str, text: str) -> None:
        super().__init__(messages.SERVER_ERROR(text=text, number=number))
        self.number = number
        self.sqlstate = sqlstate
        self.text = text


class MysqlAccessDenied(MysqlServerError):
    """Raised when the server rejects the user or the password."""
