"""Messages of `dagengine.web`: the fixed texts of pages."""

from __future__ import annotations

from dagengine.messages import Message

# --- Frame -----------------------------------------------------------------------

MENU = Message("web.menu", "Pages")
SKIP_TO_CONTENT = Message("web.skip_to_content", "Skip to the content")
LOG_OUT = Message("web.log_out", "Log out")
LOG_IN = Message("web.log_in", "Log in")
LOG_IN_TO = Message("web.log_in_to", "Log in to {cluster}")
LOG_IN_WITH = Message("web.log_in_with", "Log in with")
SECRET = Message("web.secret", "Password or token")
ROOT_PASSWORD = Message("web.root_password", "the password of root@sys")
AGENT_PASSWORD = Message("web.agent_password", "the agent password")
API_TOKEN = Message("web.api_token", "an API token")
AS_CALLER = Message("web.as_caller", "Log in as {name}")
ROOT_WITHOUT_PASSWORD = Message(
    "web.root_without_password",
    "root@sys has no password: set one (ALTER USER root IDENTIFIED BY …, then root_password_file "
    "in the cluster file) or create a token (dagengine token create)",
)
READ_ONLY = Message("web.read_only", "You can see everything here, and change nothing")
ALL_CLUSTERS = Message("web.all_clusters", "All clusters")
CHOOSE_CLUSTER = Message("web.choose_cluster", "Other clusters")
LIVE = Message("web.live", "Live")
RECONNECTING = Message("web.reconnecting", "Reconnecting")
ELSEWHERE = Message("web.elsewhere", "Refreshed every 5 s")
OPEN_OWNER = Message("web.open_owner", "Open at the owner, live")
SERVERS_TOTAL = Message("web.servers_total", "{total} servers")
SERVERS_UNSEEN = Message("web.servers_unseen", "{total} servers, not seen yet")
SERVERS_UP = Message("web.servers_up", "{up} of {total} up, seen {age}")
LOCK_FREE = Message("web.lock_free", "Lock: free")
LOCK_HELD = Message("web.lock_held", "Lock: held by {name} for {duration}")
LOCK_ABOUT = Message("web.lock_about", "The lock is held by {about}; started by {caller}")
RUNNING_COUNT = Message("web.running_count", "{count} running")
FAILED_COUNT = Message("web.failed_count", "{count} failed")
COPY = Message("web.copy", "Copy")
DOWNLOAD = Message("web.download", "Download")
FILTER = Message("web.filter", "Filter")
NEXT_PAGE = Message("web.next_page", "Older")
FIRST_PAGE = Message("web.first_page", "Newest")

# --- Times -----------------------------------------------------------------------

MILLISECONDS = Message("web.milliseconds", "{count} ms")
SECONDS = Message("web.seconds", "{count} s")
MINUTES = Message("web.minutes", "{minutes} min {seconds} s")
HOURS = Message("web.hours", "{hours} h {minutes} min")
DAYS = Message("web.days", "{days} d {hours} h")
SECONDS_AGO = Message("web.seconds_ago", "{count} s ago")
MINUTES_AGO = Message("web.minutes_ago", "{count} min ago")
HOURS_AGO = Message("web.hours_ago", "{count} h ago")
DAYS_AGO = Message("web.days_ago", "{count} d ago")
SINCE = Message("web.since", "{at}, for {ago}")

# --- Errors ----------------------------------------------------------------------

ERROR = Message("web.error", "Error")
BACK_TO_START = Message("web.back_to_start", "Back to the start page")
PAGE_NOT_FOUND = Message("web.page_not_found", "This page does not exist")
FILE_NOT_FOUND = Message("web.file_not_found", "This file does not exist")
ACTION_UNKNOWN = Message("web.action_unknown", "The page has no action {name!r}")
OPEN_PAGE_AGAIN = Message("web.open_page_again", "open the page again")
TASK_NOT_FOUND = Message("web.task_not_found", "{dag_id} does not exist, or was deleted")
REASON_MISSING = Message("web.reason_missing", "The reason is missing or too long")
STATE_REASON = Message("web.state_reason", "state a reason of 1 to 4000 characters for the audit")
PLACE_INVALID = Message("web.place_invalid", "The query names no valid event: {text!r}")

# --- States ----------------------------------------------------------------------

STATE = Message("web.state", "State")
PENDING = Message("web.pending", "pending")
ACCEPTED = Message("web.accepted", "accepted")
RUNNING = Message("web.running", "running")
WAITING = Message("web.waiting", "waiting")
FAILED = Message("web.failed", "failed")
SUCCEEDED = Message("web.succeeded", "succeeded")
CANCELLING = Message("web.cancelling", "being cancelled")
CANCELLED = Message("web.cancelled", "cancelled")
ROLLING_BACK = Message("web.rolling_back", "being rolled back")
ROLLBACK_FAILED = Message("web.rollback_failed", "rollback failed")
ROLLED_BACK = Message("web.rolled_back", "rolled back")
PASSED = Message("web.passed", "passed")
TIMED_OUT = Message("web.timed_out", "timed out")
INTERRUPTED = Message("web.interrupted", "interrupted")
RESULT_UNKNOWN = Message("web.result_unknown", "result unknown")

# --- Tasks -----------------------------------------------------------------------

TASKS = Message("web.tasks", "Tasks")
NO_TASKS = Message("web.no_tasks", "No tasks yet")
NO_TASKS_FOUND = Message("web.no_tasks_found", "No task matches the filters")
NAME = Message("web.name", "Name")
CALLER = Message("web.caller", "Started by")
REASON = Message("web.reason", "Reason")
SCOPE = Message("web.scope", "Scope")
STARTED = Message("web.started", "Started")
DURATION = Message("web.duration", "Duration")
SERVERS = Message("web.servers", "Servers done")
PERIOD = Message("web.period", "Time")
ANY_STATE = Message("web.any_state", "any state")
ANY_TIME = Message("web.any_time", "any time")
LAST_HOUR = Message("web.last_hour", "last hour")
LAST_DAY = Message("web.last_day", "last 24 hours")
LAST_WEEK = Message("web.last_week", "last 7 days")
N_OF_M = Message("web.n_of_m", "{done} of {total}")
AND_MORE = Message("web.and_more", "{listed} and {count} more")
RUNS_BY_SERVER = Message("web.runs_by_server", "Runs by server")
RUNS_HINT = Message(
    "web.runs_hint", "Each cell has the worst state of a server in a run; the newest run is left"
)
SERVER = Message("web.server", "Server")
NOT_IN_RUN = Message("web.not_in_run", "not part of the run")
STATE_AT_STAGE = Message("web.state_at_stage", "{state} at {stage}")
WHOLE_CLUSTER = Message("web.whole_cluster", "Whole cluster")

# --- One task --------------------------------------------------------------------

TASK = Message("web.task", "Task")
DAG_SUCCEEDED = Message("web.dag_succeeded", "Succeeded after {duration}")
DAG_FAILED = Message("web.dag_failed", "Failed after {duration}")
DAG_CANCELLED = Message("web.dag_cancelled", "Cancelled after {duration}")
DAG_PASSED = Message("web.dag_passed", "Marked as done by PASS after {duration}")
DAG_ROLLED_BACK = Message("web.dag_rolled_back", "Rolled back; took {duration}")
DAG_ROLLBACK_FAILED = Message("web.dag_rollback_failed", "Rollback failed after {duration}")
DAG_RUNNING = Message(
    "web.dag_running", "Running for {duration}, at stage {stage} of {stages} {stage_name}"
)
DAG_CANCELLING = Message(
    "web.dag_cancelling",
    "Being cancelled for {duration}, at stage {stage} of {stages} {stage_name}",
)
DAG_ROLLING_BACK = Message(
    "web.dag_rolling_back",
    "Being rolled back for {duration}, at stage {stage} of {stages} {stage_name}",
)
SERVERS_DONE = Message("web.servers_done", "{done} of {total} servers have succeeded")
FAILED_AT = Message("web.failed_at", "{server} failed at {stage}: {reason}")
MORE_FAILED = Message("web.more_failed", "{count} more have failed")
REASON_UNKNOWN = Message("web.reason_unknown", "the reason is not known")
PARAMETERS = Message("web.parameters", "Parameters")
TIMELINE = Message("web.timeline", "Timeline")
TIMELINE_HINT = Message(
    "web.timeline_hint",
    "One bar per attempt, later attempts below; select a bar to see its details",
)
LANES_OMITTED = Message("web.lanes_omitted", "{count} more servers are not shown")
BAR = Message("web.bar", "{server}, {stage}, attempt {number}: {outcome}, {duration}")
STAGE_ON_SERVER = Message("web.stage_on_server", "{stage}: {server}")
ATTEMPT_OF = Message("web.attempt_of", "attempt {number} of {count}")
NOT_RUN_YET = Message("web.not_run_yet", "not run yet")
WAITS_FOR = Message("web.waits_for", "Waits for")
WAITS_SINCE = Message("web.waits_since", "Since")
WAITS_UNTIL = Message("web.waits_until", "Until")
LAST_PROBE = Message("web.last_probe", "Last probe")
NEXT_PROBE = Message("web.next_probe", "Next probe")
ATTEMPTS = Message("web.attempts", "Attempts")
ATTEMPT = Message("web.attempt", "Attempt")
OUTCOME = Message("web.outcome", "Outcome")
PROBLEM = Message("web.problem", "Error")
RESULT = Message("web.result", "Result")
EVIDENCE = Message("web.evidence", "Evidence")
LOG_LINES = Message("web.log_lines", "Log lines of all attempts")
NO_LINES = Message("web.no_lines", "No log lines")
LINES_OMITTED = Message("web.lines_omitted", "{count} earlier lines are in the download")
FOLLOW = Message("web.follow", "Follow")
ACTIONS = Message("web.actions", "Actions")
RETRY = Message("web.retry", "Retry")
ROLLBACK = Message("web.rollback", "Rollback")
PASS = Message("web.pass", "Pass")
CANCEL = Message("web.cancel", "Cancel")
RETRY_EFFECT = Message("web.retry_effect", "Runs again on {servers}, then the stages after that")
RETRY_NOTHING = Message("web.retry_nothing", "Runs the failed stages again for the whole cluster")
ROLLBACK_EFFECT = Message("web.rollback_effect", "Undoes what this task did on {servers}")
ROLLBACK_NOTHING = Message("web.rollback_nothing", "Undoes the stages that have run")
PASS_EFFECT = Message(
    "web.pass_effect", "Marks the task as done without running anything; skipped on {servers}"
)
PASS_NOTHING = Message("web.pass_nothing", "Marks the task as done without running anything")
CANCEL_EFFECT = Message("web.cancel_effect", "Ends the running steps on {servers}")
CANCEL_NOTHING = Message("web.cancel_nothing", "Ends the task; no step runs on a server now")
PASS_STAGE = Message("web.pass_stage", "Pass this stage")
PASS_STAGE_EFFECT = Message(
    "web.pass_stage_effect",
    "Marks {stage} as done without running it ({skipped}); then the later stages run ({servers})",
)
PASS_STAGE_LAST = Message(
    "web.pass_stage_last", "Marks {stage} as done without running it ({skipped}); no stage follows"
)
STAGE_NOT_FOUND = Message("web.stage_not_found", "The task has no stage {stage!r}")
NOT_POSSIBLE = Message("web.not_possible", "Not possible now")
LOCK_IN_USE = Message("web.lock_in_use", "{name} holds the lock; wait for it or cancel it")
REASON_FOR_AUDIT = Message("web.reason_for_audit", "Reason (for the audit)")
SAME_AS_COMMAND = Message("web.same_as_command", "As a command")
HISTORY = Message("web.history", "Who did what")
LINKS = Message("web.links", "Link and commands")
PERMANENT_LINK = Message("web.permanent_link", "Permanent link")
RAW_JSON = Message("web.raw_json", "Raw JSON")

# --- Locks, audit, log -----------------------------------------------------------

LOCKS = Message("web.locks", "Locks")
LOCK = Message("web.lock", "Lock")
HOLDER = Message("web.holder", "Holder")
HELD_FOR = Message("web.held_for", "Held for")
SINCE_WHEN = Message("web.since_when", "Since")
TOKEN = Message("web.token", "Token")
FREE = Message("web.free", "free")
HELD = Message("web.held", "held")
NO_LOCKS = Message("web.no_locks", "No lock was ever taken")
AUDIT = Message("web.audit", "Audit")
NO_ACTIONS = Message("web.no_actions", "No action matches")
TIME = Message("web.time", "When")
AUDIT_CALLER = Message("web.audit_caller", "Caller")
ADDRESS = Message("web.address", "Address")
ACTION = Message("web.action", "Action")
EXPORT_CSV = Message("web.export_csv", "Export as CSV")
CONTROLLER_LOG = Message("web.controller_log", "Controller log")
LOG_SCOPE = Message(
    "web.log_scope", "The newest events of this cluster since the controller started"
)
LEVEL = Message("web.level", "Level")
LOGGER = Message("web.logger", "Part")
EVENT = Message("web.event", "Event")
FIELDS = Message("web.fields", "Details")
DEBUG = Message("web.debug", "everything")
INFO = Message("web.info", "information and above")
WARNINGS = Message("web.warnings", "warnings and errors")
ERRORS = Message("web.errors", "errors only")
NO_EVENTS = Message("web.no_events", "No event matches")

# --- Fleet -----------------------------------------------------------------------

FLEET = Message("web.fleet", "Fleet")
FLEET_SENTENCE = Message("web.fleet_sentence", "{available} of {total} clusters are available")
FLEET_OTHERS = Message("web.fleet_others", "{summary}; {names}")
CLUSTER_IS = Message("web.cluster_is", "{cluster}: {state}")
CLUSTERS = Message("web.clusters", "Clusters")
CLUSTER = Message("web.cluster", "Cluster")
CLUSTER_SERVERS = Message("web.cluster_servers", "Servers")
OWNER = Message("web.owner", "Owner")
LAST_TASK = Message("web.last_task", "Last task")
NO_TASK = Message("web.no_task", "none yet")
NO_OWNER = Message("web.no_owner", "none")
COUNTS = Message("web.counts", "{running} running, {failed} failed")
AVAILABLE = Message("web.available", "available")
RESTRICTED = Message("web.restricted", "no majority")
NOT_CONNECTED = Message("web.not_connected", "does not answer SQL")
NOT_RUNNING = Message("web.not_running", "not running")
REFUSED = Message("web.refused", "refused")
NOT_CONFIGURED = Message("web.not_configured", "not configured")
NOT_SUMMARIZED = Message("web.not_summarized", "unknown")
CONTROLLERS = Message("web.controllers", "Controllers")
CONTROLLER = Message("web.controller", "Controller")
VERSION = Message("web.version", "Version")
LAST_HEARTBEAT = Message("web.last_heartbeat", "Last heartbeat")
OWNED_CLUSTERS = Message("web.owned_clusters", "Clusters that it owns")
CONTROLLER_LIVE = Message("web.controller_live", "live")
CONTROLLER_DEAD = Message("web.controller_dead", "dead")
CONTROLLER_LEFT = Message("web.controller_left", "left")
START_CLUSTERS = Message("web.start_clusters", "Start clusters")
START_CLUSTERS_EFFECT = Message(
    "web.start_clusters_effect",
    "Starts all servers of the selected clusters that are down; running servers stay as they are",
)
START_SELECTED = Message("web.start_selected", "Start the selected clusters")
SELECT_CLUSTERS = Message("web.select_clusters", "Clusters to start")
RESULTS = Message("web.results", "Accepted and refused")
ACCEPTED_AS = Message("web.accepted_as", "{name} accepted")
NOTHING_SELECTED = Message("web.nothing_selected", "No cluster is selected")
SELECT_ONE = Message("web.select_one", "select at least one cluster")
START_WAITS = Message(
    "web.start_waits",
    "Some clusters wait for their turn, because only a limited number starts at a time; "
    "their tasks appear in the table",
)
