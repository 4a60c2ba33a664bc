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
FORCE_PASS_REASON = Message("engine.force_pass_reason", "--force-pass of DAG {dag_id}")
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
GIVE_STORE = Message("engine.give_store", "give a Store object, such as SqliteStore(path)")
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
AFTER_PAUSE = Message(
    "engine.after_pause",
    "after the controller was suspended for {paused_s:g} s, which may be the cause: {problem}",
)
STEP_CRASHED = Message("engine.step_crashed", "stopped on {error}: {reason}")
TEXT_UNAVAILABLE = Message(
    "engine.text_unavailable", "the exception has no text, because its __str__ fails"
)
END_UNCONFIRMED = Message(
    "engine.end_unconfirmed",
    "was ended, but its end on {target} is not confirmed: {reason}",
)
CONFIRMATION_TIMED_OUT = Message(
    "engine.confirmation_timed_out",
    "the confirmation did not complete in time",
)
MAY_STILL_RUN = Message("engine.may_still_run", "something of it may still run")
CONFIRMATION_INVALID = Message(
    "engine.confirmation_invalid",
    "confirm_stopped returned {value!r:.100}, not True or False",
)
IGNORED_LIMIT = Message(
    "engine.ignored_limit",
    "was abandoned: it still runs {confirm_s:g} s after the {limit_s:g} s of its {scope} have "
    "passed, because it ignored its cancellation",
)
IGNORED_CANCEL = Message(
    "engine.ignored_cancel",
    "was abandoned: it still runs {confirm_s:g} s after it was cancelled, because it ignored its "
    "cancellation",
)
CORRECT_STEP_THAT_RUNS_ON = Message(
    "engine.correct_step_that_runs_on",
    "check what the step has done and still does, and let it end on CancelledError",
)
ATTEMPT_ABANDONED = Message(
    "engine.attempt_abandoned",
    "attempt {attempt_no} was abandoned and cannot change anything any more",
)
TOO_MANY_ABANDONED = Message(
    "engine.too_many_abandoned",
    "was not started: {count} abandoned steps of operation '{operation}' still run",
)
RESTART_ENGINE = Message(
    "engine.restart_engine",
    "let the steps end on CancelledError, and restart the engine",
)
LINES_OMITTED = Message(
    "engine.lines_omitted",
    "WARN: the step has written {count} lines: its further lines are not stored",
)
LOCK_NOT_TAKEN = Message(
    "engine.lock_not_taken",
    "ended without the lock that it is declared to take",
)
TAKE_LOCK = Message(
    "engine.take_lock",
    "call acquire_lock in this stage and return Failed if another DAG holds the lock",
)
LOCK_KEY_MISSING = Message(
    "engine.lock_key_missing",
    "acquire_lock was called, but operation '{operation}' has no lock_key",
)
DECLARE_LOCK_KEY = Message(
    "engine.declare_lock_key",
    "declare lock_key and takes_lock in the operation",
)
CHECK_EFFECT = Message("engine.check_effect", "check what the step has done")
CORRECT_STEP = Message(
    "engine.correct_step",
    "see the log of the program for the cause, and correct the step",
)
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
