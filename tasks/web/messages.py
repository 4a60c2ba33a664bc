"""Messages of `tasks.web`: the fixed texts of pages."""

from __future__ import annotations

from dagengine.errors import Message

# --- Servers -------------------------------------------------------------------

SERVERS = Message("tasks.web.servers", "Servers")
SERVER = Message("tasks.web.server", "Server")
STATE = Message("tasks.web.state", "State")
PROBLEM = Message("tasks.web.problem", "Last error")
SEEN = Message("tasks.web.seen", "Last seen")
UPTIME = Message("tasks.web.uptime", "Uptime")
PID = Message("tasks.web.pid", "Pid")
SQL_PORT = Message("tasks.web.sql_port", "SQL port")
VERSION = Message("tasks.web.version", "Version")
OPERATIONS = Message("tasks.web.operations", "Operations")
ALL_SERVERS = Message("tasks.web.all_servers", "All servers")
OPERATION_ON = Message("tasks.web.operation_on", "{operation}: {subject}")
UP_OF = Message("tasks.web.up_of", "{up} of {total} up")
SENTENCE = Message("tasks.web.sentence", "{summary}; {names}")
SERVER_IS = Message("tasks.web.server_is", "{server} is {state}")
AND_MORE = Message("tasks.web.and_more", "{names} and {count} more")
NOT_KNOWN = Message("tasks.web.not_known", "-")
SINCE = Message("tasks.web.since", "since {at}")
BY_TASK = Message("tasks.web.by_task", "by {name}")
SHOW_TASK = Message("tasks.web.show_task", "Show {name}")
FAILED_AT = Message("tasks.web.failed_at", "{name} failed at {stage}: {error}")

# --- States of servers ---------------------------------------------------------

UP = Message("tasks.web.up", "up")
DOWN = Message("tasks.web.down", "down")
STARTING = Message("tasks.web.starting", "starting")
STOPPING = Message("tasks.web.stopping", "stopping")
STOPPED = Message("tasks.web.stopped", "stopped")
OUT_OF_SERVICE = Message("tasks.web.out_of_service", "out of service")
UNREACHABLE = Message("tasks.web.unreachable", "unreachable")
UNKNOWN = Message("tasks.web.unknown", "unknown")
NO_SQL = Message("tasks.web.no_sql", "running, does not answer SQL")
NO_MAJORITY = Message("tasks.web.no_majority", "running, the cluster has no majority")

# --- Plan ----------------------------------------------------------------------

PLAN = Message("tasks.web.plan", "Plan")
OPERATION_UNKNOWN = Message("tasks.web.operation_unknown", "The operation {name!r} does not exist")
SCOPE_UNKNOWN = Message("tasks.web.scope_unknown", "The scope {scope!r} does not exist")
PLAN_REFUSED = Message("tasks.web.plan_refused", "A plan cannot be made; nothing has been changed")
OPEN_SERVERS = Message("tasks.web.open_servers", "use a button of the page Servers")
PLAN_CHANGED = Message(
    "tasks.web.plan_changed",
    "Nothing was done: the plan has changed since you saw it; this is the new plan",
)
CHANGED_TARGETS = Message("tasks.web.changed_targets", "Other servers or options than before")
CHANGED_VERDICTS = Message("tasks.web.changed_verdicts", "Something else would be done on a server")
CHANGED_LOCK = Message(
    "tasks.web.changed_lock", "Another task holds the lock, or the holder has released it"
)
CHANGED_CLUSTER_FILE = Message("tasks.web.changed_cluster_file", "The cluster file was edited")
PLAN_SENTENCE = Message("tasks.web.plan_sentence", "Servers: {parts}")
VERDICT_COUNT = Message("tasks.web.verdict_count", "{count} {verdict}")
VERDICT_START = Message("tasks.web.verdict_start", "to start")
VERDICT_STOP = Message("tasks.web.verdict_stop", "to stop")
VERDICT_NOTHING = Message("tasks.web.verdict_nothing", "nothing to do")
VERDICT_BLOCKED = Message("tasks.web.verdict_blocked", "blocked")
VERDICT_UNKNOWN = Message("tasks.web.verdict_unknown", "host does not answer")
NOTHING_CHANGED_YET = Message(
    "tasks.web.nothing_changed_yet",
    "This is a plan from the current state of the hosts; nothing has been changed yet",
)
HOW = Message("tasks.web.how", "How:")
VERDICT = Message("tasks.web.verdict", "Plan")
WHY = Message("tasks.web.why", "Why")
WAS = Message("tasks.web.was", "before:")
NOT_IN_PLAN = Message("tasks.web.not_in_plan", "not part of the plan")
COMMANDS = Message("tasks.web.commands", "Commands that would run")
LEVEL_WARN = Message("tasks.web.level_warn", "warning")
LEVEL_BLOCK = Message("tasks.web.level_block", "blocks")
LEVEL_SKIPPED = Message("tasks.web.level_skipped", "skipped")
SKIP_CHECK = Message("tasks.web.skip_check", "Plan without the check {check}")
LOCK_FREE = Message("tasks.web.lock_free", "The lock of the cluster is free")
LOCK_HELD = Message("tasks.web.lock_held", "The lock of the cluster is held by {about}")
LOCK_PASSED = Message(
    "tasks.web.lock_passed", "This cancels and passes the task that holds the lock: {about}"
)
SHOW_HOLDER = Message("tasks.web.show_holder", "Show this task")
TAKE_LOCK = Message("tasks.web.take_lock", "Plan to cancel it and take the lock over")
DO_IT = Message("tasks.web.do_it", "Do it: {operation}")
REASON = Message("tasks.web.reason", "Reason (for the audit)")
REASON_MISSING = Message("tasks.web.reason_missing", "The reason is missing or too long")
STATE_REASON = Message("tasks.web.state_reason", "state a reason of 1 to {limit} characters")
REFUSED_READ_ONLY = Message(
    "tasks.web.refused_read_only", "You may see plans, but not execute them"
)
REFUSED_LOCK = Message(
    "tasks.web.refused_lock",
    "Not possible now: another task holds the lock; wait for its end, or take the lock over",
)
REFUSED_NOTHING = Message(
    "tasks.web.refused_nothing", "There is nothing to do on any of these servers"
)
REFUSED_BLOCKED = Message(
    "tasks.web.refused_blocked",
    "Not possible now: nothing can be done on these servers; the column Why has the reasons",
)
BACK = Message("tasks.web.back", "Back to the servers")
AS_COMMAND = Message("tasks.web.as_command", "The same as a command")

# --- Doctor --------------------------------------------------------------------

DOCTOR = Message("tasks.web.doctor", "Doctor")
NOT_EXAMINED = Message(
    "tasks.web.not_examined", "The hosts have not been examined since the controller started"
)
EXAMINE = Message("tasks.web.examine", "Examine all hosts")
EXAMINE_AGAIN = Message("tasks.web.examine_again", "Examine again")
EXAMINING = Message("tasks.web.examining", "Examining {hosts} hosts …")
PROBLEMS = Message(
    "tasks.web.problems", "Hosts and files with errors: {bad}; with warnings: {warned}"
)
ALL_PASSED = Message("tasks.web.all_passed", "All {count} checks have passed")
EXAMINATION_RUNS = Message("tasks.web.examination_runs", "An examination is in progress")
LOG_IN_FIRST = Message("tasks.web.log_in_first", "Log in first")
BEGUN = Message("tasks.web.begun", "examined")
DOCTOR_HINT = Message(
    "tasks.web.doctor_hint",
    "It checks the cluster file, logins, and every check of a start; "
    "it changes nothing and takes no lock",
)
PASSED = Message("tasks.web.passed", "passed")
BAD = Message("tasks.web.bad", "error")
PASSED_COUNT = Message("tasks.web.passed_count", "{count} passed")
COMMANDS_TO_COPY = Message("tasks.web.commands_to_copy", "Commands to copy")
