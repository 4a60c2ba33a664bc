"""What can go wrong between a MySQL server and this client.

    MysqlError
    ├── MysqlRequestRefused         this client does not send it; nothing was sent
    ├── MysqlConnectionLost         no connection, or it ended
    │   └── MysqlTimedOut           no complete answer in time
    ├── MysqlProtocolError          the peer does not keep to the protocol, or to a bound
    ├── MysqlAuthPluginRefused      the peer wants the password in another form
    └── MysqlServerError            the server answers with an error
        └── MysqlAccessDenied       user or password is wrong

No other exception leaves the package because of what a peer sends. Only after MysqlServerError and
MysqlRequestRefused is the connection still open.
"""

from __future__ import annotations

from dagengine.errors import DagengineError


class MysqlError(DagengineError):
    """Base of the errors of this package.

    Attributes:
        result_unknown: a statement was sent and its result was not received: it may have been
            executed.
    """

    err_code = "MySQL.Error"
    result_unknown = False


class MysqlRequestRefused(MysqlError):
    """The request cannot be sent: too large, not Unicode, or one is already under way."""


class MysqlConnectionLost(MysqlError):
    """The connection could not be opened, or has ended."""


class MysqlTimedOut(MysqlConnectionLost):
    """No complete answer within the time limit; the connection is closed."""


class MysqlProtocolError(MysqlError):
    """The peer sent something that the protocol does not allow here; the connection is closed."""


class MysqlAuthPluginRefused(MysqlError):
    """The peer requests an authentication plugin other than mysql_native_password.

    Attributes:
        plugin: its name, safe to show.
    """

    def __init__(self, plugin: str) -> None:
        super().__init__(
            f"the peer requests authentication with {plugin}; only mysql_native_password is used",
            remedy="create the account with mysql_native_password",
        )
        self.plugin = plugin


class MysqlServerError(MysqlError):
    """The server answers with an error.

    Attributes:
        number: of the error, as the server sent it.
        sqlstate: five characters, or empty.
        text: safe to show on one line.
    """

    def __init__(self, number: int, sqlstate: str, text: str) -> None:
        super().__init__(f"{text} (error {number})")
        self.number = number
        self.sqlstate = sqlstate
        self.text = text


class MysqlAccessDenied(MysqlServerError):
    """The server refuses the user or the password."""
