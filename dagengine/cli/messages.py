"""Messages of `dagengine.cli`. The modules that print them define lines and columns."""

from __future__ import annotations

from dagengine.errors import Message

# --- Command line ----------------------------------------------------------------

READY = Message("cli.ready", "dagengine ready on {url}")
READY_FOR = Message("cli.ready_for", "dagengine ready on {url} for {name}")
READY_SERVICE = Message("cli.ready_service", "dagengine ready on {url} for all clusters")
READY_FLEET = Message(
    "cli.ready_fleet", "  next     in another terminal:  dagengine fleet --url unix:{path}"
)
READY_CLUSTER = Message(
    "cli.ready_cluster", "  cluster  {name}: {servers} servers in {zones} zones"
)
READY_SOCKET = Message(
    "cli.ready_socket", "  socket   {path}, without a password: --url unix:{path}"
)
READY_NEXT = Message(
    "cli.ready_next", "  next     in another terminal:  dagengine start --dry-run --url {url}"
)
READY_STOP = Message("cli.ready_stop", "  stop     Ctrl-C; the servers keep running")
ERROR = Message("cli.error", "dagengine: {message}")
ERROR_WITH_CODE = Message("cli.error_with_code", "[{code}]: {message}")
ERROR_WITH_REMEDY = Message("cli.error_with_remedy", "{error}; {remedy}")
NOTICE = Message("cli.notice", "dagengine: {notice}")
SET_PASSWORD = Message("cli.set_password", "set {variable} to the password of root@sys")
PASSWORD_PROMPT = Message("cli.password_prompt", "Password of root@sys: ")
URL_INVALID = Message(
    "cli.url_invalid",
    "--url {url!r} is not one of http://HOST:PORT, https://HOST:PORT, unix:PATH",
)
NO_LAST_DAG = Message("cli.no_last_dag", "'last' does not name a DAG: there is none yet")
START_FIRST = Message("cli.start_first", "create one, such as with `dagengine start`")
ID_UNKNOWN = Message("cli.id_unknown", "the id of no DAG is or ends in {text!r}")
LIST_IDS = Message("cli.list_ids", "see the ids with `dagengine list`, or write `last`")
ID_AMBIGUOUS = Message("cli.id_ambiguous", "the ids of {count} DAGs end in {text!r}")
TYPE_MORE_DIGITS = Message("cli.type_more_digits", "write more digits of one of them: {ids}")
USE_TARGET_OPTION = Message(
    "cli.use_target_option",
    "name zones and servers as options: `dagengine {command} --zone ZONE` or `--server IP:PORT`",
)
SEE_HELP = Message("cli.see_help", "see `{command} --help`")
FOLLOW_NEEDS_ID = Message("cli.follow_needs_id", "--follow needs the id of a DAG")
TIMEOUT_INVALID = Message(
    "cli.timeout_invalid",
    "--timeout {timeout:g} is not a time; write a number of seconds that is not negative, such as "
    "30",
)
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
STORE_MIGRATED = Message("cli.store_migrated", "{store}: the schema has version {version}")
STEP_POSTPONED = Message(
    "cli.step_postponed",
    "step {step} of the schema waits for controllers with an older program: {controllers}; when "
    "they are upgraded or stopped, run the command again",
)
STORE_COPIED = Message("cli.store_copied", "{cluster}: copied ({file}); the epoch is now {epoch}")
MIGRATE_PLACES = Message("cli.migrate_places", "`store migrate` takes one address of a database")
NAME_DATABASE = Message("cli.name_database", "write mysql://USER@HOST:PORT/DATABASE")
COPY_PLACES = Message(
    "cli.copy_places", "`store copy` takes a database and a file or directory, as FROM and TO"
)
NAME_FROM_TO = Message(
    "cli.name_from_to",
    "write the address of the database as mysql://USER@HOST:PORT/DATABASE, before or after the "
    "path",
)
CLUSTER_NAME_INVALID = Message(
    "cli.cluster_name_invalid",
    "{name!r} is not the name of a cluster: it consists of 1 to 32 characters a-z, 0-9 and -",
)
NAME_CLUSTER_OPTION = Message(
    "cli.name_cluster_option", "name the cluster with `--cluster`, as in its cluster file"
)
BACKUP_OF_DATABASE = Message(
    "cli.backup_of_database", "{store} is a shared store, which this command does not copy"
)
BACK_UP_DATABASE = Message(
    "cli.back_up_database", "use the backup of the database, and keep a copy of {key}"
)
SHARED_EPOCH_RENEWED = Message(
    "cli.shared_epoch_renewed", "{cluster}: the epoch is now {epoch} (was {before})"
)
START_CONTROLLERS = Message("cli.start_controllers", "start the controllers")
EPOCH_RENEWED = Message(
    "cli.epoch_renewed",
    "{path}: the epoch is now {epoch} (was {before}); start the controller",
)

VERSION = Message("cli.version", "dagengine {version} (Python {python})")
HELP_EXAMPLE = Message("cli.help_example", "Example: {command}")
HELP_EXIT_CODES = Message("cli.help_exit_codes", "Exit codes: {codes}")
STILL_RUNNING = Message("cli.still_running", "{name} {dag_id} has not ended after {timeout_s:g} s")

# --- Confirmation ----------------------------------------------------------------

CONTINUE_QUESTION = Message("cli.continue_question", "Continue? [y/N] ")
NOTHING_CHANGED = Message("cli.nothing_changed", "not confirmed; nothing was changed")
AFFECTS_FORCED_STOP = Message(
    "cli.affects_forced_stop",
    "this ends the processes of {count} of {total} servers at once, without a minor freeze:",
)
AFFECTS_WRITTEN = Message("cli.affects_written", "  {target} (as it was written)")
AFFECTS_TERMINATED = Message(
    "cli.affects_terminated",
    "this ends the processes of {count} of {total} servers after a minor freeze:",
)
AFFECTS_PLAIN_STOP = Message(
    "cli.affects_plain_stop",
    "this takes {count} of {total} servers out of service by SQL:",
)
AFFECTS_HOLDER = Message(
    "cli.affects_holder",
    "this cancels {name} {dag_id}, marks it as passed and takes its lock over",
)
AFFECTS_ROLLBACK = Message(
    "cli.affects_rollback",
    "this undoes {name} {dag_id}: it ends the servers that this DAG has started:",
)
AFFECTS_ROLLBACK_NONE = Message(
    "cli.affects_rollback_none",
    "this undoes {name} {dag_id}, which has not started a server: no server ends",
)
IF_STARTED = Message("cli.if_started", "  {server}, if this DAG has started it")
FORCE_PASS_IDLE = Message(
    "cli.force_pass_idle", "{dag_id} does not hold the lock: --force-pass has no effect on it"
)
LOCK_OF_OTHER = Message(
    "cli.lock_of_other",
    "{name} {dag_id} holds the lock, so that this command will fail until it is free",
)
AFFECTS_PASS = Message(
    "cli.affects_pass",
    "this marks {name} {dag_id} as done; these parts have not succeeded:",
)
AFFECTS_PASS_STAGE = Message(
    "cli.affects_pass_stage",
    "this marks stage {stage} of {name} {dag_id} as passed, and the DAG continues after it; these "
    "parts have not succeeded:",
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
HEADLINE_UP = Message("cli.headline_up", "{headline}; {up} of {servers} servers are up")
HEADLINE_CAUSE = Message("cli.headline_cause", "{headline}; {cause}")
STAGE_FAILED = Message("cli.stage_failed", "failed at {stage}: {reason}")
SERVER_FAILED = Message("cli.server_failed", "{server} failed at {stage}: {reason}")
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
FURTHER_CAUSES = Message("cli.further_causes", "also failed:")
NOT_REACHED = Message("cli.not_reached", "not reached")
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
AUDIT_NAMED_ACTION = Message("cli.audit_named_action", "{dag_id}  {action} of {name}")
AUDIT_NAMED_NODE_ACTION = Message(
    "cli.audit_named_node_action", "{dag_id}  {action} of node {node_id} of {name}"
)
AUDIT_REQUEST = Message("cli.audit_request", "{dag_id}  request")
AUDIT_NAMED_REQUEST = Message("cli.audit_named_request", "{dag_id}  request: {name}")
AUDIT_NO_DAG = Message("cli.audit_no_dag", "{action}")
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
HEALTHY = Message("cli.healthy", "{up}/{servers} servers healthy")
RUNNING_DAG = Message(
    "cli.running_dag", "running: {name} {dag_id}, stage {stage} of {stages}, since {since}"
)
NO_RUNNING_DAG = Message("cli.no_running_dag", "running: no DAG")
LAST_DAG = Message("cli.last_dag", "last: {headline} ({time})")
NEXT_START_DOWN = Message("cli.next_start_down", "next: start what is down:  dagengine start")
FAILED_EARLIER = Message("cli.failed_earlier", "{name} failed ({time}): {cause}")
ERROR_AND_FAILURE = Message("cli.error_and_failure", "{error}; {failure}")
NEXT_DOCTOR = Message(
    "cli.next_doctor", "next: check the host of each unknown server:  dagengine doctor -c FILE"
)
AND_START_DOWN = Message("cli.and_start_down", "      start what is down:  dagengine start")
NO_VALUE = Message("cli.no_value", "-")
STATE_UP = Message("cli.state_up", "up")
STATE_DOWN = Message("cli.state_down", "down")
STATE_STARTING = Message("cli.state_starting", "starting")
STATE_STOPPING = Message("cli.state_stopping", "stopping")
STATE_STOPPED = Message("cli.state_stopped", "stopped")
STATE_DELETING = Message("cli.state_deleting", "deleting")
STATE_RESTRICTED = Message("cli.state_restricted", "restricted")
STATE_NO_SQL = Message("cli.state_no_sql", "no SQL")
STATE_UNKNOWN = Message("cli.state_unknown", "unknown")

# --- Columns and times -----------------------------------------------------------

COLUMN_ID = Message("cli.column_id", "ID")
COLUMN_NAME = Message("cli.column_name", "NAME")
COLUMN_STATE = Message("cli.column_state", "STATE")
COLUMN_OPERATOR = Message("cli.column_operator", "OPERATOR")
COLUMN_STAGE = Message("cli.column_stage", "STAGE")
COLUMN_STARTED = Message("cli.column_started", "STARTED")
COLUMN_SERVER = Message("cli.column_server", "SERVER")
COLUMN_ZONE = Message("cli.column_zone", "ZONE")
COLUMN_PID = Message("cli.column_pid", "PID")
COLUMN_UP_SINCE = Message("cli.column_up_since", "UP SINCE")
COLUMN_LAST_ERROR = Message("cli.column_last_error", "LAST ERROR")
TIME_AND_AGE = Message("cli.time_and_age", "{time}, {age}")
AGE = Message("cli.age", "{count} {unit} ago")

# --- Dry run ---------------------------------------------------------------------

DRY_RUN = Message("cli.dry_run", "{name}: this is what it would do; nothing was changed")
DRY_RUN_LOCK = Message("cli.dry_run_lock", "lock '{key}': {holder}")
WOULD_RUN = Message("cli.would_run", "      would run: {command}")
PLAN_DIGEST = Message(
    "cli.plan_digest", "to run exactly this plan, repeat the command with:  --if-plan {digest}"
)

# --- Tokens ----------------------------------------------------------------------

TOKEN_NAME_MISSING = Message("cli.token_name_missing", "token {action} needs --name NAME")
TOKEN_NAME_UNUSED = Message("cli.token_name_unused", "token list does not take --name")
TOKEN_CLUSTERS = Message(
    "cli.token_clusters", "--cluster names no cluster; omit it for a token for all clusters"
)
TOKEN_CREATED = Message(
    "cli.token_created",
    "token {name} was created; it is shown only now. Keep it in DAGENGINE_TOKEN, or send it in the "
    "header `Authorization: Bearer`",
)
TOKEN_REVOKED = Message("cli.token_revoked", "token {name} was revoked")
TOKENS_EMPTY = Message("cli.tokens_empty", "the list of tokens is empty")
DURATION_INVALID = Message(
    "cli.duration_invalid",
    "{text!r} is not a time; write a number and s, m, h, d or w, such as 30d",
)
COLUMN_RIGHTS = Message("cli.column_rights", "RIGHTS")
COLUMN_LAST_USED = Message("cli.column_last_used", "LAST USED")
COLUMN_EXPIRES = Message("cli.column_expires", "EXPIRES")
COLUMN_CREATED_BY = Message("cli.column_created_by", "CREATED BY")
NEVER = Message("cli.never", "never")
EXPIRED = Message("cli.expired", "{time} (expired)")
CONFIG_AND_URL = Message("cli.config_and_url", "use -c or --url, not both")
SOCKET_DISABLED = Message(
    "cli.socket_disabled", "the engine file {path} disables the unix socket (api.socket: none)"
)
USE_URL = Message("cli.use_url", "use --url")
SET_TOKEN = Message("cli.set_token", "set {variable} to a valid token")

# --- Fleet -----------------------------------------------------------------------

CLUSTER_UNKNOWN = Message("cli.cluster_unknown", "the service at {url} has no cluster {name!r}")
KNOWN = Message("cli.known", "name one of these: {known}")
NOT_A_SERVICE = Message("cli.not_a_service", "{url} is the API of one cluster, not of a service")
NAME_SERVICE = Message(
    "cli.name_service",
    "use `dagengine status`, or name the service: -c FILE on its machine, or --url",
)
FLEET_FORGET_USAGE = Message("cli.fleet_forget_usage", "use `fleet forget NAME`")
FLEET_START_USAGE = Message("cli.fleet_start_usage", "use `fleet start --cluster NAME,NAME`")
FLEET_URL_MISSING = Message(
    "cli.fleet_url_missing", "name the service: -c FILE on its machine, or --url"
)
SERVICE_MISSING = Message(
    "cli.service_missing", "the engine file {path} has no listener of the service"
)
ADD_SERVICE_SECTION = Message(
    "cli.add_service_section", "add `service: {{socket: run/service.sock}}`"
)
FLEET_FORGET = Message(
    "cli.fleet_forget", "this deletes all tasks and the audit of the cluster {name}"
)
FLEET_FORGOTTEN = Message("cli.fleet_forgotten", "the data of the cluster {name} was deleted")
COLUMN_CLUSTER = Message("cli.column_cluster", "CLUSTER")
COLUMN_OWNER = Message("cli.column_owner", "OWNER")
COLUMN_SERVERS = Message("cli.column_servers", "SERVERS")
COLUMN_RUNNING = Message("cli.column_running", "RUNNING")
COLUMN_LAST_TASK = Message("cli.column_last_task", "LAST TASK")
LAST_TASK = Message("cli.last_task", "{name} {state} {time}")
CONTROLLER_ROW = Message(
    "cli.controller_row", "controller {name} {version}: {state}, {count} clusters, seen {time}"
)
BULK_REFUSED = Message("cli.bulk_refused", "{cluster}: refused: {reason}")
BULK_ACCEPTED = Message("cli.bulk_accepted", "{cluster}: {name} {dag_id} {state}")
