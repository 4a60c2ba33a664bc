"""Messages of `dagengine.mysql`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Requests --------------------------------------------------------------------

STATEMENT = Message("mysql.statement", "the statement")
USER = Message("mysql.user", "the user")
DATABASE = Message("mysql.database", "the database")
PASSWORD = Message("mysql.password", "the password")
TEXT = Message("mysql.text", "the text")
NUL_CHARACTER = Message("mysql.nul_character", "{subject} contains a NUL character")
NOT_UNICODE = Message("mysql.not_unicode", "{subject} is not valid Unicode text")
REQUEST_TOO_LONG = Message(
    "mysql.request_too_long",
    "the request has {size} bytes; at most {limit} are sent",
)
STATEMENT_IN_PROGRESS = Message(
    "mysql.statement_in_progress",
    "another statement is in progress on this connection",
)

# --- End of a connection ---------------------------------------------------------

NOT_CONNECTED = Message("mysql.not_connected", "the connection was not established: {reason}")
NOT_OPEN = Message("mysql.not_open", "the connection is not open")
CLOSED = Message("mysql.closed", "the connection was closed")
CLOSED_BY_PEER = Message("mysql.closed_by_peer", "the peer closed the connection")
BROKEN = Message("mysql.broken", "the connection broke: {reason}")
TIMED_OUT = Message("mysql.timed_out", "no complete response within {limit_s:g} s")
STATEMENT_CANCELLED = Message("mysql.statement_cancelled", "a statement was cancelled")
LOGIN_FAILED = Message("mysql.login_failed", "the login failed")

# --- Login -----------------------------------------------------------------------

NOT_MYSQL = Message("mysql.not_mysql", "the peer does not greet as a MySQL server")
CAPABILITY_MISSING = Message(
    "mysql.capability_missing",
    "the server lacks the capability {capability}",
)
PLUGIN_REFUSED = Message(
    "mysql.plugin_refused",
    "the peer requests authentication with {plugin}; only mysql_native_password is used",
)
USE_NATIVE_PASSWORD = Message(
    "mysql.use_native_password",
    "create the account with mysql_native_password",
)
FULL_AUTHENTICATION = Message("mysql.full_authentication", "further data (full authentication)")
SECOND_AUTHENTICATION = Message(
    "mysql.second_authentication",
    "the peer requests authentication a second time",
)
TLS_NOT_OFFERED = Message("mysql.tls_not_offered", "the server does not offer TLS")
CERTIFICATE_UNTRUSTED = Message(
    "mysql.certificate_untrusted",
    "the certificate of the server is not trusted: {detail}",
)
CERTIFICATE_OF_OTHER_NAME = Message(
    "mysql.certificate_of_other_name",
    "the certificate of the server is for another name: {detail}",
)
CERTIFICATE_EXPIRED = Message(
    "mysql.certificate_expired",
    "the certificate of the server, or of its CA, has expired",
)
CERTIFICATE_NOT_YET_VALID = Message(
    "mysql.certificate_not_yet_valid",
    "the certificate of the server, or of its CA, is not valid yet",
)
TLS_HANDSHAKE_FAILED = Message(
    "mysql.tls_handshake_failed",
    "the TLS handshake failed: {detail}",
)
DATA_BEFORE_TLS = Message(
    "mysql.data_before_tls",
    "the peer sent data that was not requested before the connection was encrypted",
)
SALT_SIZE = Message("mysql.salt_size", "the salt of the peer does not have {size} bytes")

# --- Responses -------------------------------------------------------------------

SERVER_ERROR = Message("mysql.server_error", "{text} (error {number})")
EMPTY_ERROR = Message("mysql.empty_error", "the server did not explain the error")
UNREQUESTED_DATA = Message("mysql.unrequested_data", "the peer sent data that was not requested")
DATA_AFTER_RESPONSE = Message(
    "mysql.data_after_response",
    "the peer sent a packet after its response",
)
RESPONSE_TOO_LONG = Message("mysql.response_too_long", "the response has more than {limit} bytes")
FILE_REQUESTED = Message(
    "mysql.file_requested",
    "the peer requests a file of this machine (LOCAL INFILE)",
)
COLUMN_COUNT = Message("mysql.column_count", "the response has {count} columns")
TOO_MANY_ROWS = Message("mysql.too_many_rows", "the response has more than {limit} rows")
TOO_MANY_VALUES = Message("mysql.too_many_values", "the response has more than {limit} values")
TOO_MANY_RESULTS = Message(
    "mysql.too_many_results",
    "the peer announces more results than possible",
)
COLUMN_MALFORMED = Message("mysql.column_malformed", "a column of the peer is malformed")
COLUMN_TYPE_UNKNOWN = Message(
    "mysql.column_type_unknown",
    "the column {name} has the unknown type {code}",
)
ROW_TOO_SHORT = Message("mysql.row_too_short", "a row of the peer ends within a value")
ROW_TOO_LONG = Message("mysql.row_too_long", "a row of the peer has more values than columns")
NOT_INTEGER = Message("mysql.not_integer", "{value!r} is not a whole number")
NOT_DECIMAL = Message("mysql.not_decimal", "{value!r} is not a decimal number")
NOT_NUMBER = Message("mysql.not_number", "{value!r} is not a number")
TEXT_NOT_UTF8 = Message("mysql.text_not_utf8", "a text of the peer is not UTF-8")
TIME_OR_JSON_MALFORMED = Message(
    "mysql.time_or_json_malformed",
    "a time or JSON of the peer is malformed",
)
NULL_COLUMN_HAS_VALUE = Message(
    "mysql.null_column_has_value",
    "a column that contains only NULL has a value",
)
PACKET_NUMBER = Message(
    "mysql.packet_number",
    "the peer sent packet number {number} instead of {expected}",
)
PACKET_TOO_LONG = Message(
    "mysql.packet_too_long",
    "the peer sent a packet of more than {limit} bytes",
)
PACKET_TOO_SHORT = Message("mysql.packet_too_short", "a packet of the peer ends within a field")
LENGTH_INVALID = Message(
    "mysql.length_invalid",
    "a packet of the peer has {byte:#04x} in place of a length",
)
TEXT_NOT_TERMINATED = Message("mysql.text_not_terminated", "a text of the peer is not terminated")
OK_EXPECTED = Message(
    "mysql.ok_expected",
    "the peer sent another packet where OK or an error was expected",
)
END_EXPECTED = Message("mysql.end_expected", "the peer sent another packet where a list ends")
