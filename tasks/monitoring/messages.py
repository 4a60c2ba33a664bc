"""Messages of `tasks.monitoring`."""

from __future__ import annotations

from dagengine.errors import Message

PROCESS_MISSING = Message("tasks.monitoring.process_missing", "the server does not run")
START_IN_PROGRESS = Message("tasks.monitoring.start_in_progress", "its start is in progress")
SQL_TIMED_OUT = Message("tasks.monitoring.sql_timed_out", "SQL did not answer in time")
HOST_UNREACHABLE = Message("tasks.monitoring.host_unreachable", "{host}: {reason}")
PROCESS_UNKNOWN = Message(
    "tasks.monitoring.process_unknown",
    "its process cannot be identified on {host}; `dagengine doctor` shows the reason",
)
STATE_OUTDATED = Message("tasks.monitoring.state_outdated", "{host} is not watched: {reason}")
WATCH_SILENT = Message(
    "tasks.monitoring.watch_silent",
    "its watch gave no sign of life for {limit_s:g} s",
)
WATCH_ENDED = Message("tasks.monitoring.watch_ended", "its watch ended by itself")
HOST_SILENT = Message(
    "tasks.monitoring.host_silent", "its host did not respond within {limit_s:g} s"
)
