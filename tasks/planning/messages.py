"""Messages of `tasks.planning`. Texts that OBShell's clients know are kept literally."""

from __future__ import annotations

from dagengine.errors import Message

SKIP_CHECKS_ILLEGAL = Message(
    "tasks.planning.skip_checks_illegal",
    "The input parameter 'skipChecks' is illegal: {reason}",
)
CHECKS_SKIPPED = Message("tasks.planning.checks_skipped", "skips the checks {names}")
REASON_AND_CHECKS = Message("tasks.planning.reason_and_checks", "{reason} ({checks})")
PLAIN_STOP_OF_CLUSTER = Message(
    "tasks.planning.plain_stop_of_cluster",
    "the whole cluster cannot be taken out of service by SQL",
)
SEND_TERMINATE_OR_FORCE = Message(
    "tasks.planning.send_terminate_or_force",
    "stop with --terminate (data is written first) or --force",
)
STOP_MODES_CONFLICT = Message(
    "tasks.planning.stop_modes_conflict",
    "force and terminate exclude each other",
)
SEND_ONE_MODE = Message("tasks.planning.send_one_mode", "choose one of --terminate and --force")
BLOCKED = Message("tasks.planning.blocked", "{reason}; {remedy}")
NOT_RUNNING = Message("tasks.planning.not_running", "does not run")
STOP_PLANNED = Message("tasks.planning.stop_planned", "runs, pid {pid}; mode {mode}")
PLAIN_STOP_PLANNED = Message(
    "tasks.planning.plain_stop_planned",
    "is taken out of service by SQL; its process keeps running",
)
HOST_SILENT = Message("tasks.planning.host_silent", "its host did not respond within {limit_s:g} s")
TASK_ID = Message("tasks.planning.task_id", "(id of the task)")

# --- Operations ------------------------------------------------------------------

START = Message("tasks.planning.start", "Start")
STOP = Message("tasks.planning.stop", "Stop")
MODE_TERMINATE = Message(
    "tasks.planning.mode_terminate", "write data to disk, then end the processes"
)
MODE_FORCE = Message("tasks.planning.mode_force", "end the processes at once")
MODE_SQL = Message(
    "tasks.planning.mode_sql", "take out of service by SQL; the processes keep running"
)
