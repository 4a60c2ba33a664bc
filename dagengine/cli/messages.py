"""Messages of `dagengine.cli`. The modules that print them define lines and columns."""

from __future__ import annotations

from dagengine.errors import Message

# --- Command line ----------------------------------------------------------------

READY = Message("cli.ready", "dagengine ready on {url}")
ERROR = Message("cli.error", "dagengine: {message}")
SET_PASSWORD = Message("cli.set_password", "what to do: set {variable} to the password of root@sys")
PASSWORD_PROMPT = Message("cli.password_prompt", "Password of root@sys: ")
URL_INVALID = Message(
    "cli.url_invalid",
    "--url {url!r} is not one of http://HOST:PORT, https://HOST:PORT, unix:PATH",
)
FOLLOW_NEEDS_ID = Message("cli.follow_needs_id", "--follow needs the id of a DAG")
ZONE_AND_SERVER = Message("cli.zone_and_server", "give --zone or --server, not both")
TARGETS_EMPTY = Message(
    "cli.targets_empty",
    "{option} does not name a {target}; omit {option} for the whole cluster",
)
NODE_UNKNOWN = Message("cli.node_unknown", "--node {stage}: the DAG has stages 1 to {stages}")
ACCEPTED = Message("cli.accepted", "{name} {dag_id} accepted")
INTERRUPTED = Message("cli.interrupted", "interrupted; the DAG continues")
BACKUP_WRITTEN = Message("cli.backup_written", "{file}: {size_bytes:,} bytes; its key is {key}")
BACKUP_WRITTEN_NO_KEY = Message(
    "cli.backup_written_no_key",
    "{file}: {size_bytes:,} bytes; it does not have a key yet",
)

# --- End of a DAG ----------------------------------------------------------------

PASSED = Message("cli.passed", "passed by an operator")
PASSED_AFTER = Message("cli.passed_after", "passed by an operator; its last log line: {line}")
END_PASSED = Message(
    "cli.end_passed",
    "{dag} (passed by an operator before it was complete), took {duration}",
)
END_ROLLED_BACK = Message("cli.end_rolled_back", "{dag} (rolled back), took {duration}")
END_SUCCEEDED = Message("cli.end_succeeded", "{dag}, took {duration}")
UNFINISHED = Message("cli.unfinished", "{dag}, at stage {stage} of {stages}")
END_CANCELLED = Message("cli.end_cancelled", "{dag}: cancelled at stage {stage} of {stages}")
END_ROLLBACK_FAILED = Message(
    "cli.end_rollback_failed",
    "{dag}: its rollback failed at stage {stage} of {stages}",
)
END_FAILED = Message("cli.end_failed", "{dag}: failed at stage {stage} of {stages}")
LOG_EMPTY = Message("cli.log_empty", "it did not write a log line")

# --- Next steps ------------------------------------------------------------------

NEXT_LOCK = Message(
    "cli.next_lock",
    "next: see the holder of the lock and its progress:  dagengine show",
)
NEXT_WHEN_FREE = Message("cli.next_when_free", "      once it is free:  dagengine retry {dag_id}")
NEXT_RETRY = Message("cli.next_retry", "next: correct the cause, then  dagengine retry {dag_id}")
NEXT_LOGS = Message("cli.next_logs", "      for all log lines:    dagengine logs {dag_id}")
NEXT_ROLLBACK = Message(
    "cli.next_rollback",
    "      to undo it:           dagengine rollback {dag_id}",
)
NEXT_PASS = Message("cli.next_pass", "      to mark it as done:   dagengine pass {dag_id}")
NEXT_FOLLOW = Message("cli.next_follow", "next: follow it with  dagengine show --follow {dag_id}")
NEXT_CANCEL = Message("cli.next_cancel", "      or end it with  dagengine cancel {dag_id}")
NEXT_START = Message("cli.next_start", "next: dagengine start")
NEXT_DRY_RUN = Message(
    "cli.next_dry_run",
    "next: nothing to do; to check the servers now:  dagengine start --dry-run",
)

# --- A DAG -----------------------------------------------------------------------

DAG_STATE = Message(
    "cli.dag_state",
    "  state     {state} (operator {operator}), stage {stage} of {stages}",
)
DAG_STARTED_RUNNING = Message(
    "cli.dag_started_running",
    "  started   {time}, running for {duration}",
)
DAG_STARTED_ENDED = Message("cli.dag_started_ended", "  started   {time}, took {duration}")
DAG_ENDED = Message("cli.dag_ended", "  ended     {time}")
WHY = Message("cli.why", "why:")
ATTEMPT = Message("cli.attempt", "{label} attempt {number}: {outcome}, {times}")
ATTEMPT_RUNNING = Message("cli.attempt_running", "is running")
RUN_TIMES = Message("cli.run_times", "run {count} times")
WAITS_FOR = Message("cli.waits_for", "waits for {wait}")
TARGET_WAITS_FOR = Message("cli.target_waits_for", "{target} waits for {wait}")
WAIT_LAST_RESULT = Message("cli.wait_last_result", "; last result: {result}")
WAIT_UNTIL = Message("cli.wait_until", "; until {time}")
WAIT = Message("cli.wait", "{kind}: {subject}, since {since}{last}{until}")
MORE_RUNNING = Message("cli.more_running", "… and {count} more")

# --- Audit -----------------------------------------------------------------------

AUDIT_EMPTY = Message("cli.audit_empty", "the audit is empty")
AUDIT_ACTION = Message("cli.audit_action", "{dag_id}  {action}")
AUDIT_NODE_ACTION = Message("cli.audit_node_action", "{dag_id}  {action} of node {node_id}")
AUDIT_ROW = Message("cli.audit_row", "{time}  {action}  by {caller}")
AUDIT_ROW_REASON = Message("cli.audit_row_reason", "{time}  {action}  by {caller}: {reason}")
CALLER_UNKNOWN = Message("cli.caller_unknown", "unknown")

# --- Status of the cluster -------------------------------------------------------

NEVER_STARTED = Message("cli.never_started", "no start or stop was requested yet")
LOCK_WAS_HELD = Message(
    "cli.lock_was_held",
    "{name} {dag_id} found the lock held: it did not touch any server",
)
LOCK_HOLDER = Message("cli.lock_holder", "lock: {name} {dag_id} since {since}")
LOCK_FREE = Message("cli.lock_free", "lock: free")
BASIS_RUNNING = Message("cli.basis_running", "by {name} {dag_id} ({state}):")
BASIS_ENDED = Message("cli.basis_ended", "by {name} {dag_id} ({state}, {time}):")
SERVER_FAILED = Message("cli.server_failed", "NOT in service: {reason}")
STAGE_FAILED = Message("cli.stage_failed", "  '{stage}' failed: {reason}")
SERVER_UNKNOWN = Message("cli.server_unknown", "not known yet")
IN_SERVICE = Message("cli.in_service", "in service (level {level})")
NOT_IN_SERVICE = Message("cli.not_in_service", "NOT in service (level {level})")

# --- Dry run ---------------------------------------------------------------------

DRY_RUN = Message("cli.dry_run", "{name}: this is what it would do; nothing was changed")
DRY_RUN_LOCK = Message("cli.dry_run_lock", "lock '{key}': {holder}")
WOULD_RUN = Message("cli.would_run", "      would run: {command}")
