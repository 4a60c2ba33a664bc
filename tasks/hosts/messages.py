"""Messages of `tasks.hosts`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Process that may be the server ----------------------------------------------

UNEXAMINED_DENIED = Message(
    "tasks.hosts.unexamined_denied",
    "{program} of user {user} (pid {pid}) may be the server of {home}, but could not be examined: "
    "this login may not read its working directory",
)
UNEXAMINED_HUNG = Message(
    "tasks.hosts.unexamined_hung",
    "{program} of user {user} (pid {pid}) may be the server of {home}, but could not be examined: "
    "the file system of its working directory did not respond in time",
)
UNEXAMINED_NO_SPACE = Message(
    "tasks.hosts.unexamined_no_space",
    "{program} of user {user} (pid {pid}) may be the server of {home}, but could not be examined: "
    "the host has no space for temporary files",
)
UNEXAMINED_UNKNOWN = Message(
    "tasks.hosts.unexamined_unknown",
    "{program} of user {user} (pid {pid}) may be the server of {home}, but could not be examined: "
    "the reason is unknown",
)
PROGRAM_UNKNOWN = Message("tasks.hosts.program_unknown", "a server program")
USER_UNKNOWN = Message("tasks.hosts.user_unknown", "(unknown)")
USER_OR_ROOT = Message("tasks.hosts.user_or_root", "{user} or root")
LOG_IN_AS_OWNER = Message(
    "tasks.hosts.log_in_as_owner",
    "log in as {logins} (`ssh.user`), set `ssh.sudo: {owner}`, or stop pid {pid} by hand",
)
REPAIR_MOUNT_OR_STOP = Message(
    "tasks.hosts.repair_mount_or_stop",
    "unmount or repair the dead NFS or FUSE mount on the host, wait if the host is overloaded, or "
    "stop pid {pid} by hand",
)
FREE_TEMPORARY_SPACE = Message("tasks.hosts.free_temporary_space", "free space in /tmp on the host")
LOG_IN_OR_STOP = Message(
    "tasks.hosts.log_in_or_stop", "log in as {logins} (`ssh.user`), or stop pid {pid} by hand"
)
DOUBT_BASE = Message(
    "tasks.hosts.doubt_base",
    "pid {pid} has {base} as base directory, which is the home {home}, but its working directory "
    "is {directory}",
)
DOUBT_PID_FILE = Message(
    "tasks.hosts.doubt_pid_file",
    "pid {pid} holds the pid file of {home} open, but its working directory is {directory}",
)
DIRECTORY_UNKNOWN = Message("tasks.hosts.directory_unknown", "unknown")
CORRECT_HOME_OR_STOP = Message(
    "tasks.hosts.correct_home_or_stop",
    "if it is this server, correct `home` in the cluster file to {directory}; otherwise stop pid "
    "{pid} by hand",
)
EXAMINE_DIRECTORY_OR_STOP = Message(
    "tasks.hosts.examine_directory_or_stop",
    "examine the working directory of pid {pid}: if it is this server, correct `home` in the "
    "cluster file to that directory; otherwise stop it by hand",
)
DOUBT_FLAVOUR = Message(
    "tasks.hosts.doubt_flavour",
    "a server of another flavour (pid {pid}) runs in {home}",
)
CORRECT_FLAVOUR_OR_HOME = Message(
    "tasks.hosts.correct_flavour_or_home",
    "correct `flavour` or `home` in the cluster file",
)
DOUBT_OWNER = Message(
    "tasks.hosts.doubt_owner",
    "a server program of another user (pid {pid}) runs in {home}, which does not belong to that "
    "user",
)
STOP_OR_CHANGE_OWNER = Message(
    "tasks.hosts.stop_or_change_owner",
    "stop pid {pid} by hand, or make the user of the server the owner of the home",
)
DOUBT_PROGRAM = Message(
    "tasks.hosts.doubt_program",
    "pid {pid} runs in {home} with {base} as base directory, but its program does not have the "
    "name of a server",
)
DOUBT_NAME = Message(
    "tasks.hosts.doubt_name",
    "pid {pid} works in {home} and has the name of a server, but its executable is {executable}",
)
STOP_OR_START_PROGRAM = Message(
    "tasks.hosts.stop_or_start_program",
    "if it is not this server, end pid {pid} or let it work in another directory; otherwise stop "
    "it by hand and start the program in bin/ of the home",
)
DOUBT_KILLED = Message(
    "tasks.hosts.doubt_killed",
    "pid {pid} in {home} was sent SIGKILL, but has not ended: it hangs in the kernel, or frees its "
    "memory",
)
REPAIR_MOUNT_OR_WAIT = Message(
    "tasks.hosts.repair_mount_or_wait",
    "unmount or repair a dead NFS or FUSE mount on the host, or wait until pid {pid} has ended",
)
LOCK_HOLDER = Message("tasks.hosts.lock_holder", "{name}, pid {pid}")
STOP_AND_START_PROGRAM = Message(
    "tasks.hosts.stop_and_start_program",
    "if it is this server, stop pid {pid} by hand and start the program in bin/ of the home",
)

# --- Paths and ports -------------------------------------------------------------

PATH_UNANSWERED = Message(
    "tasks.hosts.path_unanswered",
    "{path} could not be examined: its file system did not respond in time, this login may not "
    "reach it, or the host has no space for temporary files",
)
REPAIR_PATH = Message(
    "tasks.hosts.repair_path",
    "unmount or repair a dead NFS or FUSE mount, permit this login to reach the path, free space "
    "in /tmp, or wait if the host is overloaded",
)
PORT_STILL_OPEN = Message(
    "tasks.hosts.port_still_open",
    "no server of {home} was identified, but its SQL port {port} is open: {listener}",
)
CORRECT_HOME_OR_PORT = Message(
    "tasks.hosts.correct_home_or_port",
    "correct `home` or `sql_port` in the cluster file, or log in as the user of that process",
)
PORT_IS_SOURCE = Message(
    "tasks.hosts.port_is_source",
    "port {port} is the source port of a connection of another program ({owner}), so that no "
    "server can listen there",
)
PORT_IN_TIME_WAIT = Message(
    "tasks.hosts.port_in_time_wait",
    "port {port} was the source port of a connection that has just ended (TIME_WAIT), so that no "
    "server may be able to listen there for a minute",
)
CLOSE_AND_RESERVE = Message(
    "tasks.hosts.close_and_reserve",
    "end that connection, or set another {key}; to reserve the port for the server, add {port} to "
    "net.ipv4.ip_local_reserved_ports (sysctl)",
)
WAIT_AND_RESERVE = Message(
    "tasks.hosts.wait_and_reserve",
    "repeat the start after a minute, or set another {key}; to reserve the port for the server, "
    "add {port} to net.ipv4.ip_local_reserved_ports (sysctl)",
)
LISTENER_PROGRAM = Message("tasks.hosts.listener_program", "{name}, pid {pid}")
LISTENER_OWNER = Message("tasks.hosts.listener_owner", "a process of uid {uid}")

# --- Content of a home -----------------------------------------------------------

NEVER_STARTED = Message("tasks.hosts.never_started", "has never been started")
FIRST_START_FAILED = Message(
    "tasks.hosts.first_start_failed",
    "has never been started, a first start failed",
)
STARTED_BEFORE = Message("tasks.hosts.started_before", "was started before")
OTHER_FLAVOUR = Message(
    "tasks.hosts.other_flavour",
    "the home holds the configuration of another flavour ({file})",
)
LINK_TARGET_MISSING = Message(
    "tasks.hosts.link_target_missing",
    "the target of the symbolic link {name} in the home does not exist",
)
MOUNT_TARGET_OR_REMOVE_LINK = Message(
    "tasks.hosts.mount_target_or_remove_link",
    "mount the file system of the target, or remove the link",
)
CONFIGURATION_MISSING = Message(
    "tasks.hosts.configuration_missing",
    "etc/observer.config.bin is missing, but the home holds data ({file})",
)
RESTORE_CONFIGURATION = Message(
    "tasks.hosts.restore_configuration",
    "restore it, for example from etc2/ or etc3/; do not move any file of this home",
)
FILE_OLDER = Message(
    "tasks.hosts.file_older",
    "a first start (task {dag}) failed, but {file} is older than that start",
)
FILES_NOT_MOVED = Message(
    "tasks.hosts.files_not_moved",
    "a first start (task {dag}) failed and left files that are not moved automatically, because "
    "they are behind a link, beside a mount point or outside the home: {files}",
)
EMPTY_DIRECTORIES = Message("tasks.hosts.empty_directories", "empty their directories by hand")
MOVE_HOME_OR_RESTORE = Message(
    "tasks.hosts.move_home_or_restore",
    "move the home away by hand if it holds nothing of value, or restore the missing files",
)
STORE_MISSING = Message(
    "tasks.hosts.store_missing",
    "the home holds a database whose directory store does not exist",
)
STORE_EMPTY = Message(
    "tasks.hosts.store_empty",
    "the home holds a database whose directory store ({path}) is empty",
)
PLACE_MISSING = Message(
    "tasks.hosts.place_missing",
    "the server keeps its {place} in {path}, which does not exist",
)
PLACE_EMPTY = Message(
    "tasks.hosts.place_empty",
    "the server keeps its {place} in {path}, which is empty",
)
PLACE_CONFIGURED = Message(
    "tasks.hosts.place_configured",
    "{problem}; the cluster file names {path}",
)
MOUNT_OR_RESTORE = Message("tasks.hosts.mount_or_restore", "mount its file system, or restore it")
CONFIGURED_MISSING = Message(
    "tasks.hosts.configured_missing",
    "the home holds a database, but {key} {path} of the cluster file does not exist",
)
CONFIGURED_EMPTY = Message(
    "tasks.hosts.configured_empty",
    "the home holds a database, but {key} {path} of the cluster file is empty",
)
CORRECT_KEY_OR_MOUNT = Message(
    "tasks.hosts.correct_key_or_mount",
    "correct {key} in the cluster file, or mount its file system",
)
PLACE_DIFFERS = Message(
    "tasks.hosts.place_differs",
    "the server keeps its {place} in {path}, but the cluster file names {configured}",
)
CORRECT_OR_REMOVE_KEY = Message(
    "tasks.hosts.correct_or_remove_key",
    "correct {key} in the cluster file, or remove it there",
)
STORE_EMPTIED = Message(
    "tasks.hosts.store_emptied",
    "a server has run here ({files}), but its directory {path} is empty",
)
RECORD_MISSING = Message(
    "tasks.hosts.record_missing",
    "the home holds files, but no record of a server's parameters: {files}",
)

# --- Parameters that a server has recorded ---------------------------------------

RECORD_UNREADABLE = Message(
    "tasks.hosts.record_unreadable",
    "cannot read the server's parameters in {path}: {reason}",
)
RECORD_NOT_DATABASE = Message(
    "tasks.hosts.record_not_database",
    "it is not a readable database ({error})",
)
RECORD_TABLE_MISSING = Message(
    "tasks.hosts.record_table_missing",
    "it has no table __all_sys_parameter",
)
RECORD_COLUMNS_GENERATED = Message(
    "tasks.hosts.record_columns_generated",
    "its table __all_sys_parameter has generated columns",
)
RECORD_CONTROL_CHARACTERS = Message(
    "tasks.hosts.record_control_characters",
    "a parameter has control characters",
)
RECORD_PORT_INVALID = Message(
    "tasks.hosts.record_port_invalid",
    "its value for mysql_port is not a port",
)
RECORD_READ_TIMEOUT = Message("tasks.hosts.record_read_timeout", "it was not read within 10 s")
RECORD_NOT_PERMITTED = Message("tasks.hosts.record_not_permitted", "this login cannot read it")
RECORD_TOO_LARGE = Message(
    "tasks.hosts.record_too_large",
    "it has {size:,} bytes, more than {limit:,}",
)
RECORD_TRANSFER_DAMAGED = Message(
    "tasks.hosts.record_transfer_damaged",
    "it was not transferred intact",
)
RECORD_DIRECTORY_UNANSWERED = Message(
    "tasks.hosts.record_directory_unanswered",
    "a directory that {path} names did not respond in time: {directories}",
)

# --- Fence of a home -------------------------------------------------------------

FENCE_DAMAGED = Message(
    "tasks.hosts.fence_damaged",
    "the file {file}, which names the controller of this home, is damaged or cannot be read",
)
OTHER_STORE = Message(
    "tasks.hosts.other_store",
    "the home {home} was last controlled by store {store}…, controller {controller}, at {at}",
)
CLAIM_HOME = Message(
    "tasks.hosts.claim_home",
    "use that controller; if its store is gone, run `dagengine hosts claim {server} -c FILE`",
)
TOKEN_STALE = Message(
    "tasks.hosts.token_stale",
    "the home {home} was last controlled with a newer token (epoch {epoch}, lock token "
    "{lock_token}) by controller {controller}, at {at}; this task has epoch {own_epoch}, lock "
    "token {own_token}",
)
RENEW_EPOCH = Message(
    "tasks.hosts.renew_epoch",
    "see the newest task; if the store was restored from a backup, stop the controller, run "
    "`dagengine store new-epoch -c FILE` and start it again",
)
RENEW_EPOCH_AT_LEAST = Message(
    "tasks.hosts.renew_epoch_at_least",
    "see the newest task; if the store was restored from a backup, stop the controller, run "
    "`dagengine store new-epoch --at-least {epoch} -c FILE` and start it again",
)
CLAIM_DAMAGED_HOME = Message(
    "tasks.hosts.claim_damaged_home",
    "its epoch is damaged: make sure that no other controller uses a copy of this store, then run "
    "`dagengine hosts claim {server} -c FILE`",
)

# --- Scripts ---------------------------------------------------------------------

SCRIPT_FAILED = Message("tasks.hosts.script_failed", "{script} on {address} failed: {failure}")
SCRIPT_STATUS = Message("tasks.hosts.script_status", "exit status {status}: {output}")
SCRIPT_SIGNALLED = Message("tasks.hosts.script_signalled", "ended by signal {signal}: {output}")
OUTPUT_EMPTY = Message("tasks.hosts.output_empty", "no error output")
CORRECT_HOST = Message(
    "tasks.hosts.correct_host",
    "correct the cause on the host; `dagengine doctor` repeats the query",
)

# --- Watch -----------------------------------------------------------------------

TOO_FEW_SESSIONS = Message(
    "tasks.hosts.too_few_sessions",
    "{address} cannot be watched with ssh.max_sessions {count}; a watch needs at least 4",
)
