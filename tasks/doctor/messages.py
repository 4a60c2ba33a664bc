"""Messages of `tasks.doctor`."""

from __future__ import annotations

from dagengine.errors import Message

CLUSTER_FILE = Message(
    "tasks.doctor.cluster_file",
    "{name}: {servers} {flavour} servers in {zones} zones",
)
PASSWORD_EMPTY = Message(
    "tasks.doctor.password_empty",
    "root has an empty password: every caller who reaches the API may start servers",
)
SET_PASSWORD = Message(
    "tasks.doctor.set_password",
    "set a password for root; name it with root_password_env or root_password_file",
)
PASSWORD_SET = Message("tasks.doctor.password_set", "set")
VARIABLE_EMPTY = Message("tasks.doctor.variable_empty", "the variable is empty")
VARIABLE_UNSET = Message("tasks.doctor.variable_unset", "the variable is not set")
SET_VARIABLE = Message("tasks.doctor.set_variable", "set it in the environment of the controller")
PIN_HOST_KEYS = Message(
    "tasks.doctor.pin_host_keys",
    "pin the keys of the hosts: dagengine hosts trust",
)
KNOWN_HOSTS_MISSING = Message("tasks.doctor.known_hosts_missing", "the file does not exist")
CORRECT_LINE = Message("tasks.doctor.correct_line", "correct or remove the line")
HOST_SILENT = Message("tasks.doctor.host_silent", "no response within {limit_s:g} s")
CHECK_HOST = Message("tasks.doctor.check_host", "check the host and its sshd")
LOGIN = Message("tasks.doctor.login", "{user} (uid {uid}) at {address}; {server}")
LOGIN_BY_SUDO = Message(
    "tasks.doctor.login_by_sudo",
    "{user} (uid {uid}) at {address}, by sudo from {login}; {server}",
)
SERVER_STOPPED = Message("tasks.doctor.server_stopped", "a server does not run")
SERVER_RUNNING = Message("tasks.doctor.server_running", "the server runs, pid {pid}")
VERSION = Message("tasks.doctor.version", "{server}, version {version}")
CHECK_PASSED = Message("tasks.doctor.check_passed", "passed")
PASSWORD_REFUSED = Message(
    "tasks.doctor.password_refused", "the server refuses the password of root"
)
CORRECT_PASSWORD = Message(
    "tasks.doctor.correct_password",
    "correct the password of root@sys in {source}, which the cluster file names",
)
CHECK_SSHD_AND_LOG = Message(
    "tasks.doctor.check_sshd_and_log",
    "check AllowTcpForwarding and PermitOpen in its sshd_config; read the log of sshd",
)
SQL_RESPONDS = Message("tasks.doctor.sql_responds", "responds over SSH: {version}")
