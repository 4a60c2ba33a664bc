"""Messages of `tasks.routes`. Texts that OBShell's clients know are kept literally."""

from __future__ import annotations

from dagengine.errors import Message

# --- Requests --------------------------------------------------------------------

SKIP_CHECKS_ILLEGAL = Message(
    "tasks.routes.skip_checks_illegal",
    "The input parameter 'skipChecks' is illegal: {reason}",
)
CHECKS_SKIPPED = Message("tasks.routes.checks_skipped", "skips the checks {names}")
PLAIN_STOP_OF_CLUSTER = Message(
    "tasks.routes.plain_stop_of_cluster",
    "the whole cluster cannot be taken out of service by SQL",
)
SEND_TERMINATE_OR_FORCE = Message(
    "tasks.routes.send_terminate_or_force",
    "send terminate (data is written first) or force",
)
STOP_MODES_CONFLICT = Message(
    "tasks.routes.stop_modes_conflict",
    "force and terminate exclude each other",
)
SEND_ONE_MODE = Message("tasks.routes.send_one_mode", "send one of them")

# --- Plans -----------------------------------------------------------------------

BLOCKED = Message("tasks.routes.blocked", "{reason}; {remedy}")
NOT_RUNNING = Message("tasks.routes.not_running", "does not run")
STOP_PLANNED = Message("tasks.routes.stop_planned", "runs, pid {pid}; mode {mode}")
PLAIN_STOP_PLANNED = Message(
    "tasks.routes.plain_stop_planned",
    "is taken out of service by SQL; its process keeps running",
)
HOST_SILENT = Message("tasks.routes.host_silent", "its host did not respond within {limit_s:g} s")
TASK_ID = Message("tasks.routes.task_id", "(id of the task)")

# --- State of servers ------------------------------------------------------------

PROCESS_MISSING = Message("tasks.routes.process_missing", "the server does not run")
SQL_TIMED_OUT = Message("tasks.routes.sql_timed_out", "SQL did not answer in time")
HOST_UNREACHABLE = Message("tasks.routes.host_unreachable", "{host}: {reason}")
