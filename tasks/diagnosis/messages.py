"""Messages of `tasks.diagnosis`. Causes and remedies of error codes are in `error_codes.py`."""

from __future__ import annotations

from dagengine.errors import Message

# --- End by the kernel -----------------------------------------------------------

KILLED = Message(
    "tasks.diagnosis.killed",
    "the kernel killed it because memory ran out (pid {pid})",
)
KILLED_BY_NAME = Message(
    "tasks.diagnosis.killed_by_name",
    "its log does not contain an error, but the kernel killed a {program} since it was started, "
    "because memory ran out",
)
FREE_MEMORY = Message(
    "tasks.diagnosis.free_memory",
    "free memory on the host, lower memory_limit, or raise the memory limit of its control group",
)
CRASHED = Message("tasks.diagnosis.crashed", "it crashed, according to the log of the kernel")
CORE_FILE_LEFT = Message(
    "tasks.diagnosis.core_file_left",
    "it crashed and left a core file: {path}",
)
REPORT_CRASH = Message(
    "tasks.diagnosis.report_crash",
    "report the crash to the vendor, with the core file and the log",
)

# --- Options and ports -----------------------------------------------------------

OPTION_TOO_SMALL = Message(
    "tasks.diagnosis.option_too_small",
    "{option} {value} is too small (its log does not mention this)",
)
RAISE_OPTION = Message("tasks.diagnosis.raise_option", "set {option} to at least {minimum}")
PORT_TAKEN = Message(
    "tasks.diagnosis.port_taken",
    "a port is taken: another process listens on {port}",
)
PORT_TAKEN_BY = Message(
    "tasks.diagnosis.port_taken_by",
    "a port is taken: another process listens on {port} ({listener})",
)
PORT = Message("tasks.diagnosis.port", "port")
OPTION_REFUSED = Message(
    "tasks.diagnosis.option_refused",
    "it refused a start option, without a line in its log: {problem}",
)
CORRECT_OPTION = Message("tasks.diagnosis.correct_option", "correct it in start_options")
LOG_UNCHANGED_WITH_OPTIONS = Message(
    "tasks.diagnosis.log_unchanged_with_options",
    "it ended without writing to its log, as it does if it refuses a start option ({options})",
)
CORRECT_OPTION_OR_START = Message(
    "tasks.diagnosis.correct_option_or_start",
    "check start_options, or start it by hand once, in the foreground",
)
FREE_PORT = Message("tasks.diagnosis.free_port", "free the port or set another one")

# --- Log of the server -----------------------------------------------------------

PATTERN_FOUND = Message("tasks.diagnosis.pattern_found", "{cause} (errcode {code})")
CODE_FOUND = Message("tasks.diagnosis.code_found", "{cause} (errcode {code}, {name})")
CODE_UNKNOWN = Message("tasks.diagnosis.code_unknown", "errcode {code}")
READ_LOG = Message("tasks.diagnosis.read_log", "read the server's log")
RESPONSE_TRUNCATED = Message(
    "tasks.diagnosis.response_truncated",
    "cause unknown: the response of the host was truncated",
)
LOG_MISSING = Message("tasks.diagnosis.log_missing", "it has not written a log")
LOG_UNCHANGED = Message("tasks.diagnosis.log_unchanged", "it ended without writing to its log")
START_BY_HAND = Message(
    "tasks.diagnosis.start_by_hand",
    "start it by hand once, in the foreground",
)
LOG_WITHOUT_ERROR = Message(
    "tasks.diagnosis.log_without_error",
    "its log does not contain an error, as after a signal",
)
FIND_SENDER = Message(
    "tasks.diagnosis.find_sender",
    "find out who ended it, and read the server's log",
)
DISK_FULL = Message(
    "tasks.diagnosis.disk_full",
    "its log does not contain an error, but the disk is full",
)
FREE_SPACE = Message("tasks.diagnosis.free_space", "free disk space for the home")

# --- Further observations --------------------------------------------------------

DISK_ALMOST_FULL = Message(
    "tasks.diagnosis.disk_almost_full",
    "only {size:,} bytes are free for its home",
)
FILES_ALMOST_EXHAUSTED = Message(
    "tasks.diagnosis.files_almost_exhausted",
    "only {count} more files can be created on its disk",
)
DISK_ERRORS = Message(
    "tasks.diagnosis.disk_errors",
    "the kernel has reported disk errors since its start",
)
WITH_OBSERVATIONS = Message("tasks.diagnosis.with_observations", "{cause}; {observations}")
