"""Messages of `dagengine.rules`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Operators -------------------------------------------------------------------

DAG_NAME = Message("rules.dag_name", "DAG '{name}'")
DAG_ENDED = Message("rules.dag_ended", "{dag} has already ended: {state}")
NOTHING_TO_CANCEL = Message("rules.nothing_to_cancel", "cancel only a DAG that has not ended")
STAGE_NOT_CANCELLABLE = Message(
    "rules.stage_not_cancellable",
    "stage '{stage}' cannot be cancelled",
)
WAIT_FOR_END = Message(
    "rules.wait_for_end",
    "wait until the DAG has ended; then handle the failures",
)
DAG_NOT_FAILED = Message("rules.dag_not_failed", "{dag} is {state}, not FAILED")
RETRY_FAILED_ONLY = Message("rules.retry_failed_only", "retry only a FAILED DAG")
ROLLBACK_FAILED_ONLY = Message("rules.rollback_failed_only", "roll back only a FAILED DAG")
PASS_FAILED_ONLY = Message(
    "rules.pass_failed_only",
    "pass only a FAILED DAG; CANCEL a running one first",
)
PASS_STAGE_OF_FAILED_ONLY = Message(
    "rules.pass_stage_of_failed_only",
    "pass only a stage of a FAILED DAG; CANCEL a running one first",
)
STAGE_NOT_RETRYABLE = Message("rules.stage_not_retryable", "'{stage}' cannot be retried")
ROLLBACK_OR_FINISH_BY_HAND = Message(
    "rules.rollback_or_finish_by_hand",
    "ROLLBACK the DAG, or complete it manually and PASS it",
)
STAGE_NOT_REVERSIBLE = Message("rules.stage_not_reversible", "'{stage}' cannot be rolled back")
RETRY_OR_UNDO_BY_HAND = Message(
    "rules.retry_or_undo_by_hand",
    "correct the cause and RETRY the DAG, or undo its changes manually and PASS it",
)
LOCK_WAS_TAKEN = Message(
    "rules.lock_was_taken",
    "another DAG has held the lock '{key}' since {dag} failed",
)
SEE_NEWEST_DAG = Message(
    "rules.see_newest_dag",
    "see the newest DAG: the changes of this one can no longer be undone",
)
STAGE_NOT_PASSABLE = Message("rules.stage_not_passable", "'{stage}' cannot be passed")
RETRY_OR_ROLLBACK = Message(
    "rules.retry_or_rollback",
    "correct the cause and RETRY the DAG, or ROLLBACK it",
)
STAGE_NOT_FAILED = Message("rules.stage_not_failed", "'{stage}' is {state}, not FAILED")
NAME_FAILED_STAGE = Message(
    "rules.name_failed_stage",
    "name a FAILED stage; the first one is number {number}",
)
ROLLBACK_STARTED = Message(
    "rules.rollback_started",
    "a rollback of {dag} has started: it cannot continue after '{stage}'",
)
ROLLBACK_RETRY_OR_PASS = Message(
    "rules.rollback_retry_or_pass",
    "ROLLBACK it again, RETRY it from the beginning, or PASS the DAG",
)
OPERATOR_UNKNOWN = Message("rules.operator_unknown", "Operator {operator} is not supported")
SEND_OPERATOR = Message("rules.send_operator", "send RETRY, ROLLBACK, CANCEL or PASS")

# --- Stored problems -------------------------------------------------------------

SUB_TASK_CANCELLED = Message("rules.sub_task_cancelled", "sub task cancelled")
STEP_CANNOT_CONTINUE = Message(
    "rules.step_cannot_continue",
    "the step was interrupted by a restart of the controller and cannot continue",
)
CHECK_EFFECT_THEN_RETRY = Message(
    "rules.check_effect_then_retry", "check what the step has done, then RETRY"
)

# --- Transitions -----------------------------------------------------------------

ILLEGAL_TRANSITION = Message(
    "rules.illegal_transition",
    "a {entity} that is {state} + {operator} cannot {event}",
)

# --- Waits -----------------------------------------------------------------------

STAGE_OF_TARGET = Message("rules.stage_of_target", "'{stage}' of {target}")
STAGE_RUNNING = Message("rules.stage_running", "'{stage}', {count} running")
