"""Validation of a request's decrypted body, query and idempotency key (protocol 1.4, 3.4)."""

from __future__ import annotations

import hashlib
import json
import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema
from pydantic_core import from_json

from dagengine.api import messages
from dagengine.api.extension import NoBody
from dagengine.api.value_reasons import explain_value
from dagengine.errors import BindFailed, IllegalArgument, Message, MessageText
from dagengine.model.operation import IdempotencyKey

M = TypeVar("M", bound=BaseModel)

IDEMPOTENCY_KEY = "Idempotency-Key"
"""The header that identifies a repeated request."""

_KEY_LIMIT = 200  # characters; a UUID has 36
_MAX_VALUES = 5000  # in a body, nested ones included: these take some 5 ms of the event loop
_SHOWN_CHARS = 64  # of a query parameter
_TRUE = ("true", "1", "t", "T", "TRUE", "True")
_FALSE = ("false", "", "0", "f", "F", "FALSE", "False")


def bind(body: bytes, model: type[M]) -> M:
    """Parse a body into a model.

    A missing body and `null` count as an empty object. Names are case-insensitive. A route without
    a body ignores the content.

    Raises:
        BindFailed: the body is not JSON, not an object, has too many values, or does not match the
            types of the model.
    """
    if model is NoBody:
        return model()
    try:
        # Stricter than the parser of the standard library: rejects NaN, and lone surrogates, which
        # cannot be encoded in a response, the log or the store.
        value = from_json(body, allow_inf_nan=False) if body else {}
    except ValueError as exc:
        raise BindFailed(messages.BODY_NOT_JSON(reason=_explain_json(str(exc)))) from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BindFailed(messages.BODY_NOT_OBJECT())
    # Before the validation, which collects one error for each value.
    if has_more_values(value, _MAX_VALUES):
        raise BindFailed(messages.BODY_TOO_LONG(limit=_MAX_VALUES))
    try:
        return model.model_validate(_match_names(value, model))
    except ValidationError as exc:
        where, reason = _explain_first(exc)
        raise BindFailed(messages.BODY_INVALID(where=where or "body", reason=reason)) from None


def has_more_values(value: dict[str, Any], limit: int) -> bool:
    """Return whether a JSON object contains more than `limit` values, at any depth."""
    count = 0
    containers: list[dict[str, Any] | list[Any]] = [value]
    while containers:
        container = containers.pop()
        count += len(container)
        if count > limit:
            return True
        inner = container.values() if isinstance(container, dict) else container
        containers.extend(item for item in inner if isinstance(item, dict | list))
    return False


def bind_query(query: Mapping[str, str], model: type[M]) -> M:
    """Parse query parameters into a model.

    Unknown names are ignored; if a name has several values, the first one is used.

    Raises:
        IllegalArgument: a parameter is invalid; the message names it.
    """
    values = {name: query[name] for name in model.model_fields if name in query}
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        name, reason = _explain_first(exc)
        raise IllegalArgument(messages.PARAMETER_INVALID(name=name, reason=reason)) from None


def parse_key(text: str | None, *, route: str, body: BaseModel) -> IdempotencyKey | None:
    """Parse the idempotency key of a request that creates a DAG; None if the header is absent.

    The key contains a digest of route and body, so that its reuse for another request is detected.

    Args:
        text: value of the header.
        route: method and path of the request.
        body: the validated body; the order of its fields and omitted defaults do not change the
            digest.

    Raises:
        IllegalArgument: the value is not 1 to 200 visible ASCII characters.
    """
    if text is None:
        return None
    if not (
        0 < len(text) <= _KEY_LIMIT and text.isascii() and text.isprintable() and " " not in text
    ):
        raise IllegalArgument(
            messages.IDEMPOTENCY_KEY_INVALID(header=IDEMPOTENCY_KEY, length=len(text)),
            remedy=messages.SEND_IDEMPOTENCY_KEY(limit=_KEY_LIMIT),
        )
    request = json.dumps([route, body.model_dump(mode="json", by_alias=True)], sort_keys=True)
    return IdempotencyKey(text, hashlib.sha256(request.encode()).hexdigest())


def parse_show_details(text: str | bool) -> bool:
    """Parse the query parameter `show_details`: absent is True, present but empty is False.

    Raises:
        IllegalArgument: the text is neither true nor false.
    """
    if text is True or text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise IllegalArgument(
        messages.PARAMETER_VALUE(name="show_details", value=str(text)[:_SHOWN_CHARS]),
        remedy=messages.SEND_TRUE_OR_FALSE(),
    )


def parse_flag(text: str | bool) -> bool:
    """Parse a boolean query parameter; empty is False. Raises ValueError for other texts."""
    if text is True or text in _TRUE:
        return True
    if text is False or text in _FALSE:
        return False
    raise ValueError(messages.NOT_BOOLEAN(value=str(text)[:_SHOWN_CHARS]))


# Texts of pydantic's JSON parser.
_JSON_ERROR = re.compile(r"(.*) at line (\d+) column (\d+)", re.DOTALL)
_JSON_REASONS: Mapping[str, Message] = {
    "EOF ": messages.JSON_INCOMPLETE,
    "trailing characters": messages.JSON_CONTINUES,
    "recursion limit": messages.JSON_TOO_DEEP,
}

_SPELLINGS = "|".join(filter(None, (*_TRUE, *_FALSE)))
_BOOLEAN = WithJsonSchema(
    {"type": "string", "maxLength": len("false"), "pattern": f"^({_SPELLINGS})?$"}
)

Flag = Annotated[bool, BeforeValidator(parse_flag), _BOOLEAN]

ShowDetails = Annotated[bool, BeforeValidator(parse_show_details), _BOOLEAN]


def _explain_first(exc: ValidationError) -> tuple[str, MessageText]:
    """Return place and reason of the first error, without text of pydantic."""
    first = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return where, explain_value(first) or messages.VALUE_INVALID()


def _explain_json(text: str) -> MessageText:
    """Return the reason in the text of the JSON parser, which has a position and no content."""
    match = _JSON_ERROR.fullmatch(text)
    if match is None:
        return messages.JSON_UNREADABLE()
    reason, line, column = match.groups()
    known = (message for start, message in _JSON_REASONS.items() if reason.startswith(start))
    return next(known, messages.JSON_FAULT)(line=int(line), column=int(column))


def _match_names(value: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    fields = {
        (field.alias or name).lower(): (field.alias or name, field.annotation)
        for name, field in model.model_fields.items()
    }
    matched: dict[str, Any] = {}
    for name, item in value.items():
        alias, annotation = fields.get(name.lower(), (name, None))
        inner = _model_in(annotation)
        matched[alias] = _match_names(item, inner) if inner and isinstance(item, dict) else item
    return matched


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
