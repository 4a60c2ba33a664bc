"""Reasons why values of requests and configuration files are refused, without pydantic's texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagengine.api import messages
from dagengine.errors import Message, MessageText

# By pydantic's type of the error. The fields of a message are values of the error's context.
_KINDS: Mapping[str, Message] = {
    "missing": messages.VALUE_MISSING,
    "extra_forbidden": messages.NAME_UNKNOWN,
    **dict.fromkeys(
        ("int_parsing", "int_type", "int_from_float", "int_parsing_size"),
        messages.NOT_WHOLE_NUMBER,
    ),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), messages.NOT_NUMBER),
    **dict.fromkeys(("bool_parsing", "bool_type"), messages.NOT_TRUE_OR_FALSE),
    **dict.fromkeys(("string_type", "string_unicode", "path_type"), messages.NOT_TEXT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), messages.NOT_LIST),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type"),
        messages.NOT_MAPPING,
    ),
    "string_pattern_mismatch": messages.NOT_MATCHING,
}
_BOUNDS: Mapping[str, tuple[Message, str]] = {
    "greater_than_equal": (messages.AT_LEAST, "ge"),
    "greater_than": (messages.MORE_THAN, "gt"),
    "less_than_equal": (messages.AT_MOST, "le"),
    "less_than": (messages.LESS_THAN, "lt"),
}
_LENGTHS: Mapping[str, tuple[Message, str]] = {
    "string_too_short": (messages.TEXT_TOO_SHORT, "min_length"),
    "string_too_long": (messages.TEXT_TOO_LONG, "max_length"),
    "too_short": (messages.TOO_FEW_ITEMS, "min_length"),
    "too_long": (messages.TOO_MANY_ITEMS, "max_length"),
}


def explain_value(error: Mapping[str, Any]) -> MessageText | None:
    """Return the reason of one entry of pydantic's `ValidationError.errors()`.

    Returns:
        None if the type of the error is not known, and its cause is not a message.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind in _KINDS:
        reason = _KINDS[kind]
        return reason(**{name: context[name] for name in reason.fields})
    if kind in _BOUNDS:
        bound, name = _BOUNDS[kind]
        return messages.OUT_OF_RANGE(bound=bound(limit=context[name]))
    if kind in _LENGTHS:
        length, name = _LENGTHS[kind]
        if name == "min_length" and context.get(name, 1) == 1:  # a path has no length
            return messages.VALUE_EMPTY()
        return length(limit=context[name])
    if kind in ("literal_error", "enum"):
        return messages.NOT_ONE_OF(known=_render_known(context["expected"]))
    cause = context.get("error")
    text = cause.args[0] if isinstance(cause, Exception) and cause.args else None
    return text if isinstance(text, MessageText) else None


def _render_known(expected: str) -> str:
    """Return values that pydantic has joined with an English "or", as a message."""
    first, _, last = expected.rpartition(" or ")
    return messages.ONE_OR_OTHER(first=first, last=last) if first else expected
