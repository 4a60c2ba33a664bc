"""Messages of `tasks.demo`."""

from __future__ import annotations

from dagengine.errors import Message

ERROR = Message("tasks.demo.error", "dagengine: {error}")
STOPPED = Message("tasks.demo.stopped", "stopped; everything is removed")
HOSTS = Message("tasks.demo.hosts", "hosts: {count} on loopback, each behind its own {server}")
OPENSSH_UNUSED = Message("tasks.demo.openssh_unused", "{server} is not used: {reason}")
CONTROLLER = Message("tasks.demo.controller", "controller: {url}")
RUNNING = Message("tasks.demo.running", "runs until Ctrl-C; to use it from another terminal:")
REMOVED = Message("tasks.demo.removed", "every process and file of the demo is removed")
NOT_REMOVED = Message(
    "tasks.demo.not_removed",
    "not everything is removed; end the processes that use {directory}, then remove it",
)
START_REJECTED = Message("tasks.demo.start_rejected", "the start was not accepted")
SEE_LINES_ABOVE = Message("tasks.demo.see_lines_above", "see the lines above for the reason")
CONTROLLER_NOT_READY = Message(
    "tasks.demo.controller_not_ready",
    "the controller did not start; its log is {log}",
)
ENDED_BY_SIGNAL = Message("tasks.demo.ended_by_signal", "{name} was ended by {signal}")
ENDED_WITH_STATUS = Message(
    "tasks.demo.ended_with_status", "{name} ended with the exit status {status}"
)
LAST_LOG_LINES = Message("tasks.demo.last_log_lines", "{ended}; the last lines of its log:")
THE_CONTROLLER = Message("tasks.demo.the_controller", "the controller")
SEEKDB_MISSING = Message("tasks.demo.seekdb_missing", "the demo needs the seekdb server")
INSTALL_SEEKDB = Message("tasks.demo.install_seekdb", "run pip install 'dagengine[demo]'")
SERVER_ENDED = Message("tasks.demo.server_ended", "{program} ended: {reason}")
SERVER_SILENT = Message("tasks.demo.server_silent", "{program} does not respond: {reason}")
NOT_INSTALLED = Message("tasks.demo.not_installed", "it is not installed")
LOG_EMPTY = Message("tasks.demo.log_empty", "its log is empty")
STORE_NOT_READY = Message(
    "tasks.demo.store_not_ready",
    "the seekdb server of the shared store does not answer; its log is in {home}/log",
)
COMMAND_FAILED = Message("tasks.demo.command_failed", "dagengine {command} failed: {reason}")
NO_OWNER = Message("tasks.demo.no_owner", "no controller owns {cluster}")
STORE = Message("tasks.demo.store", "store: {url}, one seekdb server")
FLEET_CONTROLLER = Message("tasks.demo.fleet_controller", "controller {name}: {urls}")
OWNED = Message("tasks.demo.owned", "{cluster} is owned by {owner}")
KILLED = Message(
    "tasks.demo.killed",
    "kill -9 {pid}: {name}, the owner of {clusters}, while the clusters start",
)
TAKEN_OVER = Message(
    "tasks.demo.taken_over", "{name} has taken over {cluster} {took_s} s after the kill"
)
DAG_ENDED = Message("tasks.demo.dag_ended", "{cluster}: {name} {dag_id}: {state}, by {by}")
