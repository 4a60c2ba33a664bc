"""Messages of `dagengine.model`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Generic ids: OBShell's texts ------------------------------------------------

GENERIC_ID_INVALID = Message("model.generic_id_invalid", "invalid generic id")
GENERIC_ID_NUMBER = Message("model.generic_id_number", "convert id to bigInt failed")
GENERIC_ID_IP = Message("model.generic_id_ip", "convert id to ip failed")
GENERIC_ID_PORT = Message("model.generic_id_port", "parse port failed")
ROW_ID_NUMBER = Message("model.row_id_number", 'row id "{digits}" is not a number')
ROW_ID_RANGE = Message("model.row_id_range", 'row id "{digits}" is out of range')

# --- Values ----------------------------------------------------------------------

NOT_SERIALIZABLE = Message("model.not_serializable", "cannot be stored: {reason}")
USE_JSON = Message("model.use_json", "use only values that JSON can represent")
OUTCOME_UNKNOWN = Message(
    "model.outcome_unknown",
    "is {outcome}, which is not an outcome that a step may return",
)
RETURN_OUTCOME = Message(
    "model.return_outcome",
    "return Succeeded(…), Failed(Problem(…)), TimedOut, Cancelled or ResultUnknown",
)
RESULT_TOO_LARGE = Message(
    "model.result_too_large",
    "is too large: its {name} has more than {limit} characters",
)
STORE_ELSEWHERE = Message(
    "model.store_elsewhere",
    "store the value elsewhere and return its location",
)

# --- Declarations ----------------------------------------------------------------

OPERATION = Message("model.operation", "operation '{operation}'")
OPERATION_WITHOUT_NAME = Message("model.operation_without_name", "an operation")
STAGE = Message("model.stage", "stage '{stage}' of {operation}")
STAGE_AT = Message("model.stage_at", "stage {number} of {operation}")
ENGINE = Message("model.engine", "the engine")
SUBMISSION = Message("model.submission", "the submission of '{operation}'")
CALL = Message("model.call", "the call of {function}")
OUTCOME = Message("model.outcome", "the outcome {name}")
OPERATION_TWICE = Message("model.operation_twice", "operation '{operation}' is registered twice")
GIVE_OPERATION_ONCE = Message("model.give_operation_once", "register each operation once")
STAGES_MISSING = Message("model.stages_missing", "{operation} does not have stages")
ADD_STAGE = Message("model.add_stage", "declare at least one stage")
STAGE_TWICE = Message("model.stage_twice", "{operation} has two stages '{stage}'")
RENAME_STAGE = Message("model.rename_stage", "give each stage a name of its own")
VALUE_INVALID = Message("model.value_invalid", "{subject}: {name} is {value}")
FUNCTION_INVALID = Message("model.function_invalid", "{subject}: {name} {reason}")
IS_NOT_ASYNC = Message("model.is_not_async", "is {value}, which is not an async function")
IS_GENERATOR = Message("model.is_generator", "is {value}, which yields instead of returning")
IS_COROUTINE = Message("model.is_coroutine", "is {value}, which was called already")
ARGUMENTS_WRONG = Message(
    "model.arguments_wrong", "cannot be called with one argument, the StepContext: {reason}"
)
GIVE_STEP = Message("model.give_step", "write `async def {name}(context)`")
GIVE_FUNCTION = Message("model.give_function", "give the function itself, without calling it")
GIVE_SECONDS = Message("model.give_seconds", "give seconds, more than 0 and at most 100 years")
GIVE_NAME = Message("model.give_name", "give a text that is not empty and can be encoded in UTF-8")
GIVE_KIND = Message("model.give_kind", "give StageKind.NORMAL or StageKind.PARALLEL")
GIVE_FLAGS = Message("model.give_flags", "give Flags(…) with True or False for each operator")
GIVE_VERSION = Message("model.give_version", "give a whole number, at least 1")
GIVE_STAGES = Message("model.give_stages", "give a tuple of Stage objects, `(Stage(…),)`")
GIVE_STAGE = Message("model.give_stage", "give a Stage object")
GIVE_OPERATION = Message("model.give_operation", "give an Operation object")
GIVE_OPERATIONS = Message("model.give_operations", "give a list of Operation objects")
GIVE_OBJECT = Message("model.give_object", "give an object of {type}")
GIVE_LONGER_NODE = Message(
    "model.give_longer_node",
    "give at least the timeout_s of one attempt, {timeout_s:g}, or set a smaller timeout_s",
)
UNDO_WITHOUT_FLAG = Message(
    "model.undo_without_flag", "{subject}: undo is set, but its flags do not permit a rollback"
)
PERMIT_ROLLBACK = Message(
    "model.permit_rollback", "set flags=Flags(can_rollback=True), or remove undo"
)
LOCK_WITHOUT_STAGE = Message(
    "model.lock_without_stage", "{operation}: lock_key is '{key}', but no stage takes the lock"
)
DECLARE_TAKES_LOCK = Message(
    "model.declare_takes_lock",
    "set takes_lock to the name of the normal stage that calls acquire_lock, or remove lock_key",
)
STAGE_WITHOUT_LOCK = Message(
    "model.stage_without_lock", "{operation}: takes_lock is {stage}, but lock_key is not set"
)
SET_LOCK_KEY = Message("model.set_lock_key", "set lock_key, or remove takes_lock")
NAME_NORMAL_STAGE = Message(
    "model.name_normal_stage", "give the name of a normal stage of the operation: {stages}"
)
NAME_OPERATION = Message("model.name_operation", "give the name of the operation")
GIVE_TARGETS = Message(
    "model.give_targets", "give a tuple of texts that are not empty, such as ('a', 'b')"
)
GIVE_PARAMS = Message("model.give_params", "give a dict whose keys are texts")
GIVE_MAPPING = Message("model.give_mapping", 'give a dict, such as {{"result": …}}')
GIVE_TEXT = Message("model.give_text", "give a text that can be encoded in UTF-8")
GIVE_PROBLEM = Message("model.give_problem", "give Problem(code, message, remedy)")
STEP_CALL = Message(
    "model.step_call", "the call of {function} in stage '{stage}' of operation '{operation}'"
)
GIVE_STRING = Message("model.give_string", "give a text, such as str(value)")
GIVE_ROW_ID = Message("model.give_row_id", "give the dag_id of a DAG, a whole number")
GIVE_PAUSE = Message("model.give_pause", "give a number of seconds, or None if it is not known")
GIVE_IDS = Message("model.give_ids", "give a list of generic ids, which are texts")
GIVE_HOLDER = Message("model.give_holder", "give the holder of the LockResult, a LockRecord")
