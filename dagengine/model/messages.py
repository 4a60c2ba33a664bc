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
    "a step returned {outcome!r}, which is not an outcome that a step may return",
)
