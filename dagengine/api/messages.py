"""Messages of `dagengine.api`. Texts that OBShell's clients know are kept literally."""

from __future__ import annotations

from dagengine.errors import Message

# --- Callers ---------------------------------------------------------------------

CALLER = Message("api.caller", "{caller} (states {claim}, not verified)")

# --- Request bodies and parameters -----------------------------------------------

BODY_NOT_JSON = Message("api.body_not_json", "Bind JSON failed: the body is not JSON: {reason}")
JSON_INCOMPLETE = Message(
    "api.json_incomplete", "it ends too early, at line {line} column {column}"
)
JSON_CONTINUES = Message(
    "api.json_continues", "more follows after its end, at line {line} column {column}"
)
JSON_TOO_DEEP = Message(
    "api.json_too_deep", "its values are nested too deeply, at line {line} column {column}"
)
JSON_FAULT = Message("api.json_fault", "it has an error at line {line} column {column}")
JSON_UNREADABLE = Message("api.json_unreadable", "it cannot be read")
BODY_NOT_OBJECT = Message("api.body_not_object", "Bind JSON failed: the body is not a JSON object")
BODY_TOO_LONG = Message(
    "api.body_too_long",
    "Bind JSON failed: the body contains more than {limit} values",
)
BODY_INVALID = Message("api.body_invalid", "Bind JSON failed: {where}: {reason}")
PARAMETER_INVALID = Message(
    "api.parameter_invalid",
    "The input parameter '{name}' is illegal: {reason}",
)
FLEET_STOPPED = Message("api.fleet_stopped", "the controller stops")
REPEAT_WITH_KEY = Message("api.repeat_with_key", "repeat the request with the same Idempotency-Key")
CLUSTER_SILENT = Message("api.cluster_silent", "its store has not answered within {limit_s:g} s")
PARAMETER_VALUE = Message(
    "api.parameter_value",
    "The input parameter '{name}' is illegal: {value!r}",
)
SEND_TRUE_OR_FALSE = Message("api.send_true_or_false", "send true or false")
SEND_NEXT_CURSOR = Message("api.send_next_cursor", "send the next_cursor of the previous page")
NOT_BOOLEAN = Message("api.not_boolean", "{value!r} is neither true nor false")
IDEMPOTENCY_KEY_INVALID = Message(
    "api.idempotency_key_invalid",
    "the header {header} has {length} characters, or characters that are not allowed",
)
SEND_IDEMPOTENCY_KEY = Message(
    "api.send_idempotency_key",
    "send 1 to {limit} visible ASCII characters, such as a UUID",
)
PLAN_DIGEST_INVALID = Message(
    "api.plan_digest_invalid", "{header} {value!r} is not the digest of a plan"
)
SEND_PLAN_DIGEST = Message(
    "api.send_plan_digest", "send the `digest` of a dry run of the same request"
)
ROUTE_WITHOUT_PLAN = Message(
    "api.route_without_plan", "this request has no plan, so {header} cannot be checked"
)
OMIT_HEADER = Message("api.omit_header", "omit the header")
PLAN_CHANGED = Message("api.plan_changed", "nothing was done: the plan has changed")
PLAN_CHANGED_IN = Message(
    "api.plan_changed_in", "nothing was done: the plan has changed: {changes}"
)
TARGETS_CHANGED = Message("api.targets_changed", "the servers or options")
VERDICTS_CHANGED = Message("api.verdicts_changed", "what would be done on a server")
LOCK_CHANGED = Message("api.lock_changed", "the holder of the lock")
CLUSTER_FILE_CHANGED = Message("api.cluster_file_changed", "the cluster file")
REVIEW_NEW_PLAN = Message(
    "api.review_new_plan", "read the new plan, and send its digest with the request"
)
EVENT_ID_INVALID = Message("api.event_id_invalid", "{header} {value!r} is not the id of an event")
SEND_LAST_EVENT_ID = Message(
    "api.send_last_event_id",
    "send the `id` of the last event received, or omit the header",
)
EVENT_ID_TOO_LARGE = Message(
    "api.event_id_too_large",
    "{header} {event_id} is beyond the last event {last} of {dag_id}",
)
OMIT_EVENT_ID = Message(
    "api.omit_event_id",
    "omit the header to read the events from the beginning",
)

# --- Values of bodies, parameters and configuration files ------------------------

VALUE_MISSING = Message("api.value_missing", "it is missing")
NAME_UNKNOWN = Message("api.name_unknown", "it is not known")
NOT_WHOLE_NUMBER = Message("api.not_whole_number", "it is not a whole number")
NOT_NUMBER = Message("api.not_number", "it is not a number")
NOT_TRUE_OR_FALSE = Message("api.not_true_or_false", "it is neither true nor false")
NOT_TEXT = Message("api.not_text", "it is not text")
NOT_LIST = Message("api.not_list", "it is not a list")
NOT_MAPPING = Message("api.not_mapping", "it is not a mapping of keys to values")
NOT_MATCHING = Message("api.not_matching", "it does not match {pattern}")
NOT_ONE_OF = Message("api.not_one_of", "it is not {known}")
ONE_OR_OTHER = Message("api.one_or_other", "{first} or {last}")
AT_LEAST = Message("api.at_least", "at least {limit}")
MORE_THAN = Message("api.more_than", "more than {limit}")
AT_MOST = Message("api.at_most", "at most {limit}")
LESS_THAN = Message("api.less_than", "less than {limit}")
OUT_OF_RANGE = Message("api.out_of_range", "it must be {bound}")
VALUE_EMPTY = Message("api.value_empty", "it is empty")
TEXT_TOO_SHORT = Message("api.text_too_short", "it has fewer than {limit} characters")
TEXT_TOO_LONG = Message("api.text_too_long", "it has more than {limit} characters")
TOO_FEW_ITEMS = Message("api.too_few_items", "it has fewer than {limit} items")
TOO_MANY_ITEMS = Message("api.too_many_items", "it has more than {limit} items")
VALUE_INVALID = Message("api.value_invalid", "it is not valid")

# --- DAGs, nodes, sub-tasks ------------------------------------------------------

DAG_NOT_FOUND = Message("api.dag_not_found", "DAG {dag_id} does not exist")
NODE_NOT_FOUND = Message("api.node_not_found", "node {node_id} does not exist")
SUB_TASK_NOT_FOUND = Message("api.sub_task_not_found", "sub-task {sub_task_id} does not exist")
DAG_ID_MISMATCH = Message("api.dag_id_mismatch", "dag id not match")
FOREIGN_ID = Message("api.foreign_id", "{task_id} is not an id of this controller ({agent})")
OPERATOR_UNKNOWN = Message("api.operator_unknown", "Operator {operator} is not supported")
SEND_DAG_OPERATOR = Message("api.send_dag_operator", "send ROLLBACK, RETRY, CANCEL or PASS")
SEND_PASS = Message("api.send_pass", "send PASS, the only operator of a node")
AGENT_FREE = Message("api.agent_free", "Agent is not under maintenance")
CLUSTER_FREE = Message("api.cluster_free", "Cluster is not under maintenance")

# --- Tokens ----------------------------------------------------------------------

TOKEN_NAME_USED = Message("api.token_name_used", "a token with the name {name!r} exists")
CHOOSE_TOKEN_NAME = Message("api.choose_token_name", "choose another name, or revoke the token")
TOKEN_UNKNOWN = Message("api.token_unknown", "a token with the name {name!r} does not exist")
LIST_TOKEN_NAMES = Message("api.list_token_names", "list the tokens with `dagengine token list`")

# --- Health ----------------------------------------------------------------------

SCHEDULER_NOT_RUNNING = Message("api.scheduler_not_running", "not running")
STORE_WRITE_TIMEOUT = Message(
    "api.store_write_timeout",
    "did not complete a write within {timeout_s:g} s",
)
STORE_NOT_WRITABLE = Message("api.store_not_writable", "rejects writes; see the log")

# --- Requests --------------------------------------------------------------------

UNEXPECTED_ERROR = Message("api.unexpected_error", "Unexpected error")
SEE_LOG = Message("api.see_log", "see the log for trace {trace_id}")
BODY_TOO_LARGE = Message(
    "api.body_too_large", "the body of the request is larger than {limit_bytes:,} bytes"
)
REQUEST_REJECTED = Message("api.request_rejected", "request rejected")
PAGE_NOT_FOUND = Message("api.page_not_found", "404 page not found")
ROUTE_NOT_FOUND = Message("api.route_not_found", "Element not found: 404 not found")
