"""Messages of `dagengine.engine` for users (`messages` has those of the scheduler's queue)."""

from __future__ import annotations

from dagengine.errors import Message

# --- The engine ------------------------------------------------------------------

ENGINE_NOT_RUNNING = Message("engine.engine_not_running", "the engine is not running")
REPEAT_WHEN_RUNNING = Message("engine.repeat_when_running", "repeat the call once the engine runs")
ENGINE_STOPPED = Message("engine.engine_stopped", "the engine was stopped: its events have ended")
STOPPED_DURING_CREATION = Message(
    "engine.stopped_during_creation",
    "the engine was stopped while the DAG was created",
)
NODE_NOT_FOUND = Message("engine.node_not_found", "node {node_id} does not exist")
DAG_NOT_FOUND = Message("engine.dag_not_found", "DAG {dag_id} does not exist")
DAG_JUST_ENDED = Message("engine.dag_just_ended", "DAG {dag_id} has just ended")
READ_AGAIN = Message("engine.read_again", "read it again")
IDEMPOTENCY_KEY_REUSED = Message(
    "engine.idempotency_key_reused",
    "the idempotency key {key!r} was used for another request, which created task {dag_id}",
)
REPEAT_OR_CHANGE_KEY = Message(
    "engine.repeat_or_change_key",
    "repeat that request to get its task, or choose a new key",
)

# --- Locks -----------------------------------------------------------------------

LOCK_HELD = Message("engine.lock_held", "'{holder}' {dag_id} holds the lock '{key}'")
WAIT_OR_CANCEL = Message("engine.wait_or_cancel", "wait for it or cancel it, then retry")
SUCCESSOR_EXISTS = Message("engine.successor_exists", "DAG {dag_id} already waits for its lock")
FORCE_PASS_REASON = Message("engine.force_pass_reason", "forcePassDag of DAG {dag_id}")
HOLDER = Message("engine.holder", "'{name}' {dag_id}, since {since}")
HOLDER_AT_STAGE = Message(
    "engine.holder_at_stage",
    "'{name}' {dag_id}, at stage {stage} of {stages} '{stage_name}', since {since}",
)
HOLDER_WAITING = Message(
    "engine.holder_waiting",
    "'{name}' {dag_id}, at stage {stage} of {stages} '{stage_name}' (waits for {waits}), since "
    "{since}",
)

# --- Operations ------------------------------------------------------------------

OPERATION_TWICE = Message("engine.operation_twice", "operation '{operation}' is registered twice")
OPERATION_UNKNOWN = Message(
    "engine.operation_unknown",
    "operation '{operation}' is not registered in this engine",
)
USE_KNOWN_OPERATION = Message("engine.use_known_operation", "use a registered operation: {known}")
VERSION_UNKNOWN = Message(
    "engine.version_unknown",
    "the DAG has version {version} of '{operation}' with {stages} stages: this engine has "
    "version {own_version} with {own_stages}",
)
RUN_SUBMITTING_VERSION = Message(
    "engine.run_submitting_version",
    "run the version that submitted it, then RETRY; or PASS the DAG",
)
TARGETS_MISSING = Message("engine.targets_missing", "'{operation}' needs at least one target")
NAME_TARGETS = Message(
    "engine.name_targets",
    "name the targets: stage '{stage}' runs once for each",
)
OPERATION = Message("engine.operation", "operation '{operation}'")
STAGE = Message("engine.stage", "stage '{stage}' of {operation}")
STAGES_MISSING = Message("engine.stages_missing", "{operation} does not have stages")
STAGE_TWICE = Message("engine.stage_twice", "{operation} has two stages '{stage}'")
DURATION_INVALID = Message("engine.duration_invalid", "{subject}: {name} is {value}")
GIVE_SECONDS = Message("engine.give_seconds", "give seconds, more than 0 and at most 100 years")
STAGE_UNKNOWN = Message("engine.stage_unknown", "'{operation}' does not have a stage '{stage}'")

# --- Stored problems of an attempt -----------------------------------------------

STEP_PROBLEM = Message("engine.step_problem", "'{stage}' {problem}")
STEP_PROBLEM_ON = Message("engine.step_problem_on", "'{stage}' of {target} {problem}")
CANCELLED_ITSELF = Message(
    "engine.cancelled_itself",
    "stopped on CancelledError: it, or a task that it awaited, cancelled itself",
)
DONE_LATE = Message("engine.done_late", "WARN: done, but not within {limit_s:g} s")
RESULT_INVALID = Message("engine.result_invalid", "has a result that {reason}")
HOST_PROBLEM = Message("engine.host_problem", "{host}: {reason}")
TIMED_OUT = Message(
    "engine.timed_out",
    "did not end in time: the {limit_s:g} s of its {scope} have passed",
)
STEP_CRASHED = Message("engine.step_crashed", "stopped on {error}: {reason}")
END_UNCONFIRMED = Message(
    "engine.end_unconfirmed",
    "was ended, but its end on {target} is not confirmed: {reason}",
)
CONFIRMATION_TIMED_OUT = Message(
    "engine.confirmation_timed_out",
    "the confirmation did not complete in time",
)
MAY_STILL_RUN = Message("engine.may_still_run", "something of it may still run")
CHECK_SERVER = Message("engine.check_server", "check the server")
RETRY_AFTER = Message("engine.retry_after", "{remedy}, then RETRY")
ROLLBACK_AFTER = Message("engine.rollback_after", "{remedy}, then ROLLBACK again")
RETRY_WHEN_CORRECTED = Message("engine.retry_when_corrected", "RETRY once the cause is corrected")
ROLLBACK_WHEN_CORRECTED = Message(
    "engine.rollback_when_corrected",
    "ROLLBACK again once the cause is corrected",
)
NOTHING_TO_UNDO = Message("engine.nothing_to_undo", "nothing to undo")
END_NOT_RECORDED = Message(
    "engine.end_not_recorded",
    "its end could not be recorded because of a defect",
)
SEE_LOG_THEN_RETRY = Message(
    "engine.see_log_then_retry",
    "see the log of the controller, then RETRY",
)
