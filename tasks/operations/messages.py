"""Messages of `tasks.operations`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Parameters ------------------------------------------------------------------

PARAMETER_INVALID = Message(
    "tasks.operations.parameter_invalid",
    "the stored parameter '{key}' of this task is invalid: {reason}",
)
CANCEL_AND_REPEAT = Message(
    "tasks.operations.cancel_and_repeat",
    "end it with `dagengine cancel`, and start or stop again",
)
NOT_OBJECT = Message("tasks.operations.not_object", "{value!r} is not an object")
NOT_TEXTS = Message("tasks.operations.not_texts", "{value!r} is not a list of texts")
NOT_CHOICE = Message("tasks.operations.not_choice", "{value!r} is not one of {choices}")

# --- Lock ------------------------------------------------------------------------

LOCK = Message("tasks.operations.lock", "the cluster lock")
LOCK_BY_FORCE = Message("tasks.operations.lock_by_force", "the cluster lock, by force pass")
LOCK_TAKEN = Message("tasks.operations.lock_taken", "took the cluster lock")
FORCE_PASS_UNNECESSARY = Message(
    "tasks.operations.force_pass_unnecessary",
    "--force-pass: the lock was free; none of the tasks was passed",
)
FORCE_PASS_DONE = Message(
    "tasks.operations.force_pass_done",
    "--force-pass: passed the task that held the lock: {ids}",
)
FORCE_PASS_FAILED = Message("tasks.operations.force_pass_failed", "--force-pass: not passed: {ids}")
LOCKED = Message("tasks.operations.locked", "the cluster is locked by {holder}")
WAIT_OR_FORCE_PASS = Message(
    "tasks.operations.wait_or_force_pass",
    "wait for it, or repeat the command with --force-pass and its id",
)

# --- Unconfirmed targets ---------------------------------------------------------

STAGE_END = Message(
    "tasks.operations.stage_end",
    "{server}: the end of '{stage}' of task {task}",
)
STAGE_STILL_RUNS = Message(
    "tasks.operations.stage_still_runs",
    "{server}: a command of task {task} still holds the lock of its home ({holder})",
)
END_COMMAND = Message(
    "tasks.operations.end_command",
    "find the process of dagengine on the host and end it",
)
STAGE_ENDED = Message(
    "tasks.operations.stage_ended",
    "{server}: checked that '{stage}' of task {task} no longer runs there",
)

# --- Fence of a home -------------------------------------------------------------

TOKEN_UNRECORDED = Message(
    "tasks.operations.token_unrecorded",
    "WARN: {server}: cannot record this task in {file}: {reason}; older commands that arrive later "
    "may take effect",
)
START_UNRECORDED = Message(
    "tasks.operations.start_unrecorded",
    "{server}: not started: this task cannot be recorded in {file}: {reason}",
)
MAKE_RECORDABLE = Message(
    "tasks.operations.make_recordable",
    "free space on the disk of the home, and let this login write to the home",
)
ATTEMPT_END = Message(
    "tasks.operations.attempt_end", "{server}: the end of the interrupted attempt"
)
ATTEMPT_STILL_RUNS = Message(
    "tasks.operations.attempt_still_runs",
    "{server}: a command of the interrupted attempt still holds the lock of its home ({holder}), "
    "or the home does not respond",
)

# --- Check -----------------------------------------------------------------------

FACTS = Message("tasks.operations.facts", "the facts of {host}:{port}")
SERVER_PROBLEM = Message("tasks.operations.server_problem", "{server}: {reason}")
HOST_PROBLEM = Message("tasks.operations.host_problem", "{host}: {reason}")
CHECK_SERVER = Message("tasks.operations.check_server", "check the server")
CHECK_HOST = Message("tasks.operations.check_host", "check the host")

# --- Start -----------------------------------------------------------------------

SERVER_START = Message("tasks.operations.server_start", "the start of {server}")
START_UNNECESSARY = Message(
    "tasks.operations.start_unnecessary",
    "{server}: {reason}, nothing to do",
)
STARTED_BEFORE = Message(
    "tasks.operations.started_before",
    "{server}: {reason}, by an earlier attempt of this task",
)
STARTING = Message("tasks.operations.starting", "{server}: starting {program} {how}")
CONFIGURED_BEFORE = Message("tasks.operations.configured_before", "with its existing configuration")
WITH_OPTIONS = Message("tasks.operations.with_options", "with {options}")
LEFTOVERS_MOVED = Message(
    "tasks.operations.leftovers_moved",
    "{server}: moved leftovers of a failed first start to {path}",
)
STARTED = Message("tasks.operations.started", "{server}: started, pid {pid}")
FOUND_RUNNING = Message("tasks.operations.found_running", "{server}: runs already, pid {pid}")
STAGE_PASSED = Message(
    "tasks.operations.stage_passed",
    "{server}: '{stage}' was passed, but the server does not run",
)
START_IT = Message("tasks.operations.start_it", "start it")
CONNECTION_LOST = Message(
    "tasks.operations.connection_lost",
    "WARN: {server}: {reason}; repeating the command, which checks the server first",
)
LAUNCH_HUNG = Message(
    "tasks.operations.launch_hung",
    "{server}: it is not known whether the server of {home} was started: the launch of {program} "
    "does not end, not even after SIGKILL ({process})",
)
LAUNCH_PROCESS = Message("tasks.operations.launch_process", "pid {pid}")
LAUNCH_PROCESS_UNKNOWN = Message(
    "tasks.operations.launch_process_unknown", "its process was not found"
)
REPAIR_MOUNT = Message(
    "tasks.operations.repair_mount", "unmount or repair a dead NFS or FUSE mount on the host"
)
FILES_STUCK = Message(
    "tasks.operations.files_stuck",
    "{server}: it is not known which files of {home} were moved or written before the start: pid "
    "{pid} does not end, not even after SIGKILL; the server was not started",
)
REPAIR_FILE_SYSTEM = Message(
    "tasks.operations.repair_file_system",
    "unmount or repair a dead NFS or FUSE mount, or thaw a frozen file system, on the host",
)
HOLDER_UNKNOWN = Message(
    "tasks.operations.holder_unknown", "by a process that this login cannot see"
)
START_LOCKED = Message(
    "tasks.operations.start_locked",
    "{server}: the lock of its home did not become free: another start or stop is in progress, or "
    "a command hangs ({holder})",
)
FILES_CHANGED = Message(
    "tasks.operations.files_changed",
    "{server}: the files of {home} have changed since they were checked",
)
SERVER_DOUBTFUL = Message(
    "tasks.operations.server_doubtful",
    "{server}: another process may be the server of {home}",
)
EXAMINE_HOST = Message("tasks.operations.examine_host", "examine the host")
PROGRAM_ENDED = Message(
    "tasks.operations.program_ended",
    "{server}: the program ended with status {status}: {output}",
)
CORRECT_HOST = Message("tasks.operations.correct_host", "correct the cause on the host")
PROBE_FAILED = Message(
    "tasks.operations.probe_failed", "the probe of the process failed: {failure}"
)
LOCK_PROBE_FAILED = Message(
    "tasks.operations.lock_probe_failed",
    "{server}: the lock of its home could not be examined: {failure}",
)
OUTPUT_EMPTY = Message("tasks.operations.output_empty", "without output")
RUN_BY_HAND = Message("tasks.operations.run_by_hand", "try {command} by hand")
MARKER_REMAINS = Message(
    "tasks.operations.marker_remains",
    "WARN: {server}: the marker {file} of a first start could not be removed; remove {file} by "
    "hand, or root's empty password is tried at each start",
)

# --- Health ----------------------------------------------------------------------

ENDED_AFTER_ANSWER = Message(
    "tasks.operations.ended_after_answer",
    "it answered SQL and then ended",
)
SQL_ANSWER = Message("tasks.operations.sql_answer", "{server} to answer on port {port}")
STABILITY = Message(
    "tasks.operations.stability",
    "{server} to stay healthy for another {left_s:g} s",
)
LEVEL = Message("tasks.operations.level", "level {level}")
LEVEL_AND_REASON = Message("tasks.operations.level_and_reason", "level {level}: {reason}")
PORT_CLOSED = Message("tasks.operations.port_closed", "nothing listens on port {port} yet")
PASSWORD_SET = Message(
    "tasks.operations.password_set",
    "{server}: root had no password; set the configured one",
)
SQL_TIMED_OUT = Message(
    "tasks.operations.sql_timed_out",
    "{server} runs (pid {pid}) but does not answer SQL within {limit_s:g} s: {reason}",
)
READ_LOG = Message("tasks.operations.read_log", "read {file}")
SEARCHING_CAUSE = Message(
    "tasks.operations.searching_cause",
    "{server}: the server (pid {pid}) is gone; searching for the cause",
)
SEARCHING_CAUSE_OF_LAUNCH = Message(
    "tasks.operations.searching_cause_of_launch",
    "{server}: the server has ended right after its launch; searching for the cause",
)
SERVER_GONE_AFTER_LAUNCH = Message(
    "tasks.operations.server_gone_after_launch",
    "{server}: the server has ended right after its launch: {cause} (log: {file})",
)
SERVER_LOG = Message("tasks.operations.server_log", "{server} log: {line}")
SERVER_GONE = Message(
    "tasks.operations.server_gone",
    "{server}: the server (pid {pid}) is gone: {cause} (log: {file})",
)
PASSWORD_REFUSED = Message(
    "tasks.operations.password_refused",
    "{server} runs, but refuses the configured password of root",
)
CORRECT_PASSWORD = Message(
    "tasks.operations.correct_password",
    "correct the password of root@sys in {source}, which the cluster file names",
)
HEALTHY = Message("tasks.operations.healthy", "{server} answers SQL after {after_s:.2f} s")
HEALTHY_AND_STABLE = Message(
    "tasks.operations.healthy_and_stable",
    "{server} answers SQL after {after_s:.2f} s and has stayed healthy for {stable_s:g} s",
)

# --- Verification of a start -----------------------------------------------------

SAME_PROCESS = Message(
    "tasks.operations.same_process",
    "{server}: the same process (pid {pid}) answers SQL",
)
SERVERS_IN_SERVICE = Message(
    "tasks.operations.servers_in_service",
    "{count} of {total} servers are in service",
)

# --- Stop ------------------------------------------------------------------------

STOPPED_BY_SQL = Message(
    "tasks.operations.stopped_by_sql",
    "{server}: is stopped by SQL; its process keeps running",
)
PROCESS_KEPT = Message("tasks.operations.process_kept", "{server}: its process keeps running")
NOT_RUNNING = Message("tasks.operations.not_running", "{server}: does not run")
STOPPABLE = Message(
    "tasks.operations.stoppable",
    "{server}: runs, pid {pid}; this task may stop it",
)
FREEZE_NOT_REQUESTED = Message(
    "tasks.operations.freeze_not_requested",
    "skipping the minor freeze: the request does not ask for one",
)
STOP_BY_SQL_UNNECESSARY = Message(
    "tasks.operations.stop_by_sql_unnecessary",
    "the processes were ended: there is nothing to stop by SQL",
)
SERVER_END = Message("tasks.operations.server_end", "the end of {server}")
STOP_UNNECESSARY = Message(
    "tasks.operations.stop_unnecessary",
    "{server}: does not run: nothing to stop",
)
NOT_STARTED_HERE = Message(
    "tasks.operations.not_started_here",
    "{server}: was not started by this task (pid {pid}): not stopped",
)
STOPPED = Message("tasks.operations.stopped", "{server}: stopped, pid {pid}")
KILLED = Message(
    "tasks.operations.killed",
    "{server}: killed, pid {pid}: it did not end within {limit_s:g} s of SIGTERM",
)
STOP_FAILED = Message("tasks.operations.stop_failed", "{server} could not be stopped: {reason}")
OTHER_USER = Message(
    "tasks.operations.other_user",
    "{server} runs as another user (uid {uid}, pid {pid}): this login may not stop it",
)
BECOME_USER = Message(
    "tasks.operations.become_user",
    "log in as that user, or become it (ssh.sudo)",
)
SURVIVED_SIGKILL = Message(
    "tasks.operations.survived_sigkill",
    "{server} still runs after SIGKILL (pid {pid}): it hangs in the kernel, for example on its "
    "disk",
)
STOP_LOCKED = Message(
    "tasks.operations.stop_locked",
    "{server} could not be stopped: the lock of its home did not become free: another start or "
    "stop is in progress, or a command hangs ({holder})",
)
SIGNAL_REFUSED = Message(
    "tasks.operations.signal_refused",
    "{server} could not be signalled (pid {pid})",
)
STOP_SCRIPT_FAILED = Message(
    "tasks.operations.stop_script_failed",
    "{server} could not be stopped: the stop script failed: {failure}",
)
STOP_UNKNOWN = Message(
    "tasks.operations.stop_unknown",
    "{server} could not be stopped: the response of the host was truncated",
)
CHECK_ON_HOST = Message("tasks.operations.check_on_host", "check the server on the host")

# --- Verification of a stop ------------------------------------------------------

STOP_CONFIRMED_BY_CLUSTER = Message(
    "tasks.operations.stop_confirmed_by_cluster",
    "the cluster itself reported the stop in the stage before",
)
STOP_VERIFIED = Message(
    "tasks.operations.stop_verified",
    "{server}: none of its processes runs",
)
SERVERS_STOPPED = Message(
    "tasks.operations.servers_stopped",
    "{count} of {total} servers are stopped",
)
RUNS_AGAIN = Message(
    "tasks.operations.runs_again",
    "{server}: runs again, pid {pid}: another program has started it",
)
IDENTIFY_STARTER = Message(
    "tasks.operations.identify_starter",
    "identify the program that starts it",
)
