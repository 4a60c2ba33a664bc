"""Messages of `tasks.preflight`.

What a check examines, its general remedy and the condition under which it blocks are declared at
its function, together with its name and severity.
"""

from __future__ import annotations

from dagengine.errors import Message

# --- Home, process and program ---------------------------------------------------

TOOL_MISSING = Message("tasks.preflight.tool_missing", "flock or setsid is missing on the host")
HOME_MISSING = Message("tasks.preflight.home_missing", "the home {home} does not exist")
HOME_NOT_DIRECTORY = Message(
    "tasks.preflight.home_not_directory",
    "the home {home} is not a directory",
)
OTHER_USER = Message(
    "tasks.preflight.other_user",
    "a server of another user (uid {owner}, pid {pid}) runs in {home}",
)
LOG_IN_OR_STOP = Message(
    "tasks.preflight.log_in_or_stop",
    "log in as that user, or become it (ssh.sudo), or stop the server; this login has uid {uid}",
)
LOG_IN = Message(
    "tasks.preflight.log_in",
    "log in as that user, or become it (ssh.sudo); this login has uid {uid}",
)
HOME_MOVED = Message(
    "tasks.preflight.home_moved",
    "pid {pid} runs in {home}, but its base directory is {former_home}: the home was moved while "
    "the server ran, so it may be unable to write its data",
)
MOVE_HOME_BACK = Message(
    "tasks.preflight.move_home_back",
    "move {home} back to {former_home}, or stop the server with force",
)
NEVER_BOOTSTRAPPED = Message(
    "tasks.preflight.never_bootstrapped",
    "{home} was never bootstrapped: etc/observer.config.bin is missing",
)
BOOTSTRAP = Message(
    "tasks.preflight.bootstrap",
    "bootstrap the cluster first, with obd for example, or correct `home` in the cluster file",
)
PORT_DIFFERS = Message(
    "tasks.preflight.port_differs",
    "the server has recorded SQL port {port}, but the cluster file names {configured}",
)
DEFAULT_PORT_DIFFERS = Message(
    "tasks.preflight.default_port_differs",
    "the server has not recorded an SQL port and would use {port}, but the cluster file names "
    "{configured}",
)
SET_PORT = Message("tasks.preflight.set_port", "set `sql_port: {port}` in the cluster file")
HOME = Message("tasks.preflight.home", "the home {path}")
DIRECTORY = Message("tasks.preflight.directory", "the directory {path}")
OWNER_DIFFERS = Message(
    "tasks.preflight.owner_differs",
    "{directory} belongs to uid {owner}, but this login has uid {uid}",
)
CHANGE_OWNER = Message(
    "tasks.preflight.change_owner",
    "log in as its owner, or become that user (ssh.sudo), or change its owner to uid {uid}",
)
NOT_WRITABLE = Message(
    "tasks.preflight.not_writable",
    "{directory} is not writable: its permissions or a read-only mount prevent it",
)
PROGRAM_MISSING = Message(
    "tasks.preflight.program_missing",
    "the program {program} does not exist",
)
PROGRAM_NOT_EXECUTABLE = Message(
    "tasks.preflight.program_not_executable",
    "the program {program} is not executable",
)
INSTALL_PROGRAM = Message("tasks.preflight.install_program", "install {flavour} on the host")
LIBRARIES_MISSING = Message(
    "tasks.preflight.libraries_missing",
    "libraries of the program are missing: {libraries}",
)
INSTALL_LIBRARIES = Message(
    "tasks.preflight.install_libraries",
    "install them, or put them into {directory}",
)
BUILD_DIFFERS = Message(
    "tasks.preflight.build_differs",
    "the program is a different build from that of {servers}, which is expected only during an "
    "upgrade",
)

# --- Other managers --------------------------------------------------------------

OBSHELL_MANAGES = Message(
    "tasks.preflight.obshell_manages",
    "an OBShell (pid {pid}) manages this home",
)
USE_OBSHELL = Message(
    "tasks.preflight.use_obshell",
    "use that OBShell, or stop it there first: `obshell agent stop`",
)
RUNS_IN_UNIT = Message(
    "tasks.preflight.runs_in_unit",
    "the server runs in the systemd unit {unit}",
)
USE_UNIT = Message(
    "tasks.preflight.use_unit",
    "use `systemctl` with {unit}, or disable it and start the server from here",
)
UNIT_STARTS_HOME = Message(
    "tasks.preflight.unit_starts_home",
    "the systemd unit {unit} starts the server of this home when the host boots",
)
START_UNIT = Message(
    "tasks.preflight.start_unit",
    "use `systemctl start {unit}`, or disable it first",
)

# --- Start options ---------------------------------------------------------------

OPTIONS_UNKNOWN = Message(
    "tasks.preflight.options_unknown",
    "start_options contains names that {flavour} does not know and ignores: {names}",
)
NAME_AND_NEAREST = Message("tasks.preflight.name_and_nearest", "{name} (did you mean {nearest}?)")

# --- Resources -------------------------------------------------------------------

PORT_TAKEN = Message("tasks.preflight.port_taken", "port {port} is taken by another program")
PORT_TAKEN_BY = Message(
    "tasks.preflight.port_taken_by",
    "port {port} is taken by another program ({listener})",
)
FREE_PORT = Message(
    "tasks.preflight.free_port",
    "stop the program that listens there, or set another {key}",
)
SPACE_LOW = Message("tasks.preflight.space_low", "only {size:,} bytes are free for {path}")
SPACE_LOW_FIRST_START = Message(
    "tasks.preflight.space_low_first_start",
    "only {size:,} bytes are free for {path}; a first start with these sizes may take {needed:,}",
)
SIZE_ABOVE_FREE = Message(
    "tasks.preflight.size_above_free",
    "{option} {value} is {size:,} bytes, but only {free:,} bytes are free for {path}",
)
SET_SMALLER = Message(
    "tasks.preflight.set_smaller", "free disk space there, or set a smaller {option}"
)
FREE_SPACE = Message("tasks.preflight.free_space", "free disk space there")
MEMORY_LIMIT_ABOVE_TOTAL = Message(
    "tasks.preflight.memory_limit_above_total",
    "memory_limit {limit} is more than the host has ({size:,} bytes)",
)
MEMORY_LIMIT_ABOVE_FREE = Message(
    "tasks.preflight.memory_limit_above_free",
    "memory_limit {limit} is more than is free ({size:,} bytes)",
)
FREE_MEMORY = Message(
    "tasks.preflight.free_memory",
    "free memory on the host, or set a smaller memory_limit",
)
OPEN_FILES_LOW = Message(
    "tasks.preflight.open_files_low",
    "this login may have {count} files open: a server needs {needed}, {recommended} are "
    "recommended",
)
PROCESSES_LOW = Message(
    "tasks.preflight.processes_low",
    "this login may have {count} processes and threads: a server needs {needed}, {recommended} "
    "are recommended",
)
CORE_SIZE_ZERO = Message(
    "tasks.preflight.core_size_zero",
    "a server that crashes would not leave a core file: the limit is 0",
)
AIO_LOW = Message(
    "tasks.preflight.aio_low",
    "{count} events of asynchronous I/O are left on the host: a server needs {needed}, a limit of "
    "{recommended} is recommended",
)
CLOCK_AHEAD = Message(
    "tasks.preflight.clock_ahead",
    "the host's clock is at least {difference_s:.1f} s ahead of the controller's",
)
CLOCK_BEHIND = Message(
    "tasks.preflight.clock_behind",
    "the host's clock is at least {difference_s:.1f} s behind the controller's",
)

# --- Decision --------------------------------------------------------------------

ALREADY_RUNNING = Message("tasks.preflight.already_running", "already running, pid {pid}")
OR_SKIP_CHECK = Message(
    "tasks.preflight.or_skip_check",
    "{remedy} (or start with --skip-check {check})",
)
ROOT_CANNOT_SKIP = Message(
    "tasks.preflight.root_cannot_skip",
    "{remedy}; root cannot skip this check",
)
NO_TEMPORARY_FILE = Message(
    "tasks.preflight.no_temporary_file",
    "neither /tmp nor /dev/shm accepts a temporary file",
)
RESPONSE_TRUNCATED = Message(
    "tasks.preflight.response_truncated",
    "the response of the host was truncated: {output!r}",
)
CHECK_LOGIN_SHELL = Message(
    "tasks.preflight.check_login_shell",
    "check the login shell of {user}",
)
SSH_USER = Message("tasks.preflight.ssh_user", "the SSH user")
CHECK_UNKNOWN = Message(
    "tasks.preflight.check_unknown",
    "the check '{check}' does not exist; known: {names}",
)
CHECK_NOT_SKIPPABLE = Message(
    "tasks.preflight.check_not_skippable",
    "the check '{check}' cannot be skipped; those that can: {names}",
)

# --- Report ----------------------------------------------------------------------

SERVER_PROBLEM = Message("tasks.preflight.server_problem", "{server}: {problem}")
CHECK_RESULT = Message("tasks.preflight.check_result", "[{check}] {cause}; {remedy}")
ALSO_BLOCKED = Message(
    "tasks.preflight.also_blocked",
    "WARN: {server}: also blocked by {check_result}",
)
WARNED = Message("tasks.preflight.warned", "WARN: {server}: {check_result}")
SKIPPED = Message(
    "tasks.preflight.skipped",
    "WARN: {server}: skipped on request: {check_result}",
)
NOTHING_TO_START = Message(
    "tasks.preflight.nothing_to_start",
    "{server}: {reason}; no check blocks it",
)
START_PERMITTED = Message(
    "tasks.preflight.start_permitted",
    "{server}: {kind}; nothing blocks it, {count} checks",
)
