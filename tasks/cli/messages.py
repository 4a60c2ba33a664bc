"""Messages of `tasks.cli`. Names of checks are part of the JSON output, and thus not messages."""

from __future__ import annotations

from dagengine.errors import Message

# --- Errors ----------------------------------------------------------------------

ERROR = Message("tasks.cli.error", "dagengine: {error}")
HOST_UNKNOWN = Message(
    "tasks.cli.host_unknown",
    "--replace {name}: the cluster file does not contain this host",
)
NAME_HOST = Message("tasks.cli.name_host", "name one of {hosts}")
CONFIG_OR_CLUSTER = Message(
    "tasks.cli.config_or_cluster",
    "give either -c/--config or --cluster",
)

# --- Doctor: files ---------------------------------------------------------------

CLUSTER_FILE = Message(
    "tasks.cli.cluster_file",
    "{name}: {servers} {flavour} servers in {zones} zones",
)
PASSWORD_EMPTY = Message(
    "tasks.cli.password_empty",
    "root has an empty password: every caller who reaches the API may start servers",
)
SET_PASSWORD = Message(
    "tasks.cli.set_password",
    "set a password for root; name it with root_password_env or root_password_file",
)
PASSWORD_SET = Message("tasks.cli.password_set", "set")
VARIABLE_EMPTY = Message("tasks.cli.variable_empty", "the variable is empty")
VARIABLE_UNSET = Message("tasks.cli.variable_unset", "the variable is not set")
SET_VARIABLE = Message("tasks.cli.set_variable", "set it in the environment of the controller")
PIN_HOST_KEYS = Message(
    "tasks.cli.pin_host_keys",
    "pin the keys of the hosts: dagengine hosts trust -c ENGINE_FILE",
)

# --- Doctor: hosts ---------------------------------------------------------------

HOST_SILENT = Message("tasks.cli.host_silent", "no response within {limit_s:g} s")
CHECK_HOST = Message("tasks.cli.check_host", "check the host and its sshd")
LOGIN = Message("tasks.cli.login", "{user} (uid {uid}) at {address}; {server}")
LOGIN_BY_SUDO = Message(
    "tasks.cli.login_by_sudo",
    "{user} (uid {uid}) at {address}, by sudo from {login}; {server}",
)
SERVER_STOPPED = Message("tasks.cli.server_stopped", "a server does not run")
SERVER_RUNNING = Message("tasks.cli.server_running", "the server runs, pid {pid}")
VERSION = Message("tasks.cli.version", "{server}, version {version}")
CHECK_PASSED = Message("tasks.cli.check_passed", "passed")
PASSWORD_REFUSED = Message("tasks.cli.password_refused", "the server refuses the password of root")
CORRECT_PASSWORD = Message(
    "tasks.cli.correct_password",
    "correct the password that the cluster file names",
)
CHECK_SSHD_AND_LOG = Message(
    "tasks.cli.check_sshd_and_log",
    "check AllowTcpForwarding and PermitOpen in its sshd_config; read the log of sshd",
)
SQL_RESPONDS = Message("tasks.cli.sql_responds", "responds over SSH: {version}")
FORWARDING_WORKS = Message("tasks.cli.forwarding_works", "sshd forwards TCP connections")
FORWARDING_SILENT = Message(
    "tasks.cli.forwarding_silent",
    "sshd does not forward TCP connections: no response from its own port {port}",
)
CHECK_SSHD = Message(
    "tasks.cli.check_sshd",
    "check AllowTcpForwarding and PermitOpen in its sshd_config",
)
CHECKS_COUNTED = Message("tasks.cli.checks_counted", "{count} checked: {counts}")

# --- Host keys -------------------------------------------------------------------

NOT_PINNED = Message("tasks.cli.not_pinned", "its key is not pinned: not confirmed")
PATTERN_TRUSTS = Message(
    "tasks.cli.pattern_trusts",
    "{address}: a pattern in known_hosts also trusts {other}",
)
KEY_REVOKED = Message(
    "tasks.cli.key_revoked",
    "its key is marked @revoked; create a new host key",
)
OTHER_KEY_PINNED = Message(
    "tasks.cli.other_key_pinned",
    "its key differs from the pinned one ({pinned}): the connection may be intercepted; if the "
    "host was reinstalled, use --replace '{address}'",
)
PIN_KEY = Message(
    "tasks.cli.pin_key",
    "compare with the hosts' own (ssh-keygen -l). Pin this key? [y/N] ",
)
PIN_KEYS = Message(
    "tasks.cli.pin_keys",
    "compare with the hosts' own (ssh-keygen -l). Pin these {count} keys? [y/N] ",
)
