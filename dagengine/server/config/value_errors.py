"""Errors of configuration values in words for users: file, line, key, value, reason and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from dagengine.api.value_reasons import explain_value
from dagengine.errors import ConfigError, Message
from dagengine.runtime.strict_yaml import find_yaml_line
from dagengine.runtime.yaml_structure import YamlRefused, read_yaml_text
from dagengine.server import messages
from dagengine.text import PASSWORD_IN_URL

_SECRETS = re.compile("password|passphrase|secret", re.IGNORECASE)
_MAX_SHOWN = 40
_NOT_AN_IP = "does not appear to be an IPv4 or IPv6 address"

# By pydantic's type of the error.
_REMEDIES: Mapping[str, Message] = {
    **dict.fromkeys(
        ("int_parsing", "int_type", "int_from_float", "int_parsing_size"),
        messages.WRITE_WHOLE_NUMBER,
    ),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), messages.WRITE_NUMBER),
    **dict.fromkeys(("bool_parsing", "bool_type"), messages.WRITE_BOOLEAN),
    **dict.fromkeys(("string_type", "path_type"), messages.WRITE_TEXT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), messages.WRITE_LIST),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type"),
        messages.WRITE_MAPPING,
    ),
    "too_short": messages.WRITE_ONE,
    "string_too_short": messages.WRITE_CHARACTERS,
}
_WORDS = {None: "null", True: "true", False: "false"}


def value_error(
    path: Path, error: Mapping[str, Any], *, where: str = "", remedy: str = ""
) -> ConfigError:
    """Build the error for one entry of pydantic's `ValidationError.errors()`.

    Args:
        path: the file, from which the line is read again.
        error: the entry.
        where: where the value comes from, if not from the file.
        remedy: what to do instead of the usual remedy of this kind of error.
    """
    key = ".".join(map(str, error["loc"]))
    if not where:
        where = locate(path, error["loc"])
    if error["type"] == "missing":
        missing = messages.KEY_MISSING(path=where, key=key)
        return ConfigError(missing, remedy=remedy or messages.ADD_KEY(key=error["loc"][-1]))
    reason, usual = _explain(error)
    value = render_value(key, error.get("input"))
    invalid = messages.VALUE_INVALID(where=where, key=key, value=value, reason=reason)
    return ConfigError(invalid, remedy=remedy or usual or messages.CORRECT_VALUE(key=key))


def refuse_empty(value: object) -> object:
    """Return the value of a key; raise PydanticCustomError for empty text."""
    if value == "":
        raise PydanticCustomError("string_too_short", "empty")
    return value


def locate(path: Path, loc: Sequence[str | int]) -> str:
    """Return the file and the line of a key, or the file alone."""
    try:
        line = find_yaml_line(read_yaml_text(path), loc)
    except (OSError, YamlRefused):
        line = None
    return str(path) if line is None else messages.FILE_AND_LINE(path=path, line=line)


def _explain(error: Mapping[str, Any]) -> tuple[str, str]:
    """Return reason and remedy; pydantic's own text only if the kind of error is not known."""
    reason = explain_value(error)
    if reason is None:
        cause = error.get("ctx", {}).get("error")
        text = cause.args[0] if isinstance(cause, Exception) and cause.args else error["msg"]
        return (messages.NOT_IP(), messages.WRITE_IP()) if _NOT_AN_IP in text else (text, "")
    if error["type"] in _REMEDIES:
        return reason, _REMEDIES[error["type"]]()
    if "bound" in reason.fields:
        return reason, messages.WRITE_IN_RANGE(bound=reason.fields["bound"])
    if "known" in reason.fields:
        return reason, messages.WRITE_ONE_OF(known=reason.fields["known"])
    return reason, ""


def render_value(key: str, value: object) -> str:
    """Return the value of a key for a message, unless it may be a secret."""
    if _SECRETS.search(key) or PASSWORD_IN_URL.search(str(value)):
        return messages.VALUE_HIDDEN()
    return render_yaml_value(value)


def render_yaml_value(value: object) -> str:
    """Return a value for a message: null and booleans as in YAML, other scalars shortened."""
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, dict):  # its content may be a password in a wrong place
        return messages.A_MAPPING()
    if isinstance(value, list):
        return messages.A_LIST()
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
