"""Messages of `tasks.sql`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Login -----------------------------------------------------------------------

PASSWORD_REFUSED = Message("tasks.sql.password_refused", "the server refuses the password of root")
PASSWORD_NOT_SET = Message(
    "tasks.sql.password_not_set",
    "the server refused to set the password of root",
)
LOGIN_FAILED = Message("tasks.sql.login_failed", "cannot connect by SQL: {reason}")
PORT_TAKEN_DURING_LOGIN = Message(
    "tasks.sql.port_taken_during_login",
    "another server process has taken the SQL port during the login; the password was not sent",
)
REPEAT_COMMAND = Message("tasks.sql.repeat_command", "repeat the command")

# --- Route to a server -----------------------------------------------------------

LISTENER_REFUSED = Message("tasks.sql.listener_refused", "{server}: {reason}")
FACTS_TRUNCATED = Message("tasks.sql.facts_truncated", "the response of the host was truncated")
PORT_NOT_LISTENING = Message("tasks.sql.port_not_listening", "nothing listens on port {port}")
SERVER_NOT_RUNNING = Message("tasks.sql.server_not_running", "the server of {home} does not run")
PORT_TAKEN = Message(
    "tasks.sql.port_taken",
    "SQL port {port} belongs to {owner}, but {expected}; the password was not sent",
)
FREE_PORT = Message(
    "tasks.sql.free_port",
    "stop that process, or correct `home` or `sql_port` in the cluster file",
)
OWNER_IS_USER = Message("tasks.sql.owner_is_user", "a process of uid {uid}")
SERVER_HAS_PID = Message("tasks.sql.server_has_pid", "the server has pid {pid}")
SERVER_HAS_USER = Message("tasks.sql.server_has_user", "the server runs as uid {uid}")
SERVER_NOT_IDENTIFIED = Message(
    "tasks.sql.server_not_identified",
    "the server of {home} was not identified",
)

# --- Statements ------------------------------------------------------------------

STATEMENT_REFUSED = Message("tasks.sql.statement_refused", "{text} (error {number})")
STATEMENT_FAILED = Message(
    "tasks.sql.statement_failed", "the statement {statement!r} failed: {reason}"
)
STATEMENT_UNANSWERED = Message(
    "tasks.sql.statement_unanswered",
    "the server did not answer the statement {statement!r}: {reason}",
)
VERSION_NOT_TEXT = Message("tasks.sql.version_not_text", "the version of the server is not a text")
ROWS_MISSING = Message("tasks.sql.rows_missing", "the server answered a query without a result")
ROWS_MALFORMED = Message(
    "tasks.sql.rows_malformed",
    "the server sent rows of an unexpected shape: {reason}",
)
