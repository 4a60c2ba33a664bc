"""Checks of what embedders declare and pass. Each error names the mistake, its place, the remedy.

Python accepts a text for an enum or a function of another kind; the mistake would appear later, or
not at all: a stage of the kind "parallel", as text, would run once.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, NoReturn, TypeGuard, cast

from dagengine.errors import ConfigError, IllegalArgument
from dagengine.messages import Message, MessageText
from dagengine.model import messages
from dagengine.model.operation import IdempotencyKey, Operation, Stage, Submission
from dagengine.model.stage_kinds import Flags, StageKind

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60

LONGEST_S = 100 * 365 * 86_400.0  # 100 years; the deadline must be a representable date


def check_operations(operations: object) -> tuple[Operation, ...]:
    """Return the operations of an engine.

    Raises:
        ConfigError: a declaration is invalid, or two operations have the same name.
    """
    if isinstance(operations, str | Operation | Mapping) or not isinstance(operations, Iterable):
        _refuse(messages.ENGINE(), "operations", operations, messages.GIVE_OPERATIONS())
    checked: dict[str, Operation] = {}
    for operation in operations:
        if not isinstance(operation, Operation):
            _refuse(messages.ENGINE(), "an operation", operation, messages.GIVE_OPERATION())
        check_operation(operation)
        if operation.name in checked:
            raise ConfigError(
                messages.OPERATION_TWICE(operation=operation.name),
                remedy=messages.GIVE_OPERATION_ONCE(),
            )
        checked[operation.name] = operation
    return tuple(checked.values())


def check_operation(operation: Operation) -> None:
    """Raise ConfigError when the declaration of an operation is invalid."""
    _check_name(messages.OPERATION_WITHOUT_NAME(), "name", operation.name)
    subject = messages.OPERATION(operation=operation.name)
    if not isinstance(operation.stages, tuple | list):
        _refuse(subject, "stages", operation.stages, messages.GIVE_STAGES())
    if not operation.stages:
        raise ConfigError(messages.STAGES_MISSING(operation=subject), remedy=messages.ADD_STAGE())
    version = operation.version
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**63:
        _refuse(subject, "version", version, messages.GIVE_VERSION())
    check_duration(subject, "timeout_s", operation.timeout_s, optional=True)
    seen: set[str] = set()
    for number, stage in enumerate(operation.stages, start=1):
        place = messages.STAGE_AT(number=number, operation=subject)
        if not isinstance(stage, Stage):
            _refuse(subject, f"stages[{number - 1}]", stage, messages.GIVE_STAGE())
        _check_name(place, "name", stage.name)
        if stage.name in seen:
            raise ConfigError(
                messages.STAGE_TWICE(operation=subject, stage=stage.name),
                remedy=messages.RENAME_STAGE(),
            )
        seen.add(stage.name)
        _check_stage(messages.STAGE(stage=stage.name, operation=subject), stage)
    _check_lock(subject, operation)


def check_duration(subject: str, name: str, value: object, *, optional: bool = False) -> None:
    """Raise ConfigError unless a value is a number of seconds above 0; None may be permitted."""
    if value is None and optional:
        return
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 < value <= LONGEST_S  # False for NaN, which is rejected too
    ):
        _refuse(subject, name, value, messages.GIVE_SECONDS())


def check_type(name: str, value: object, expected: type) -> None:
    """Raise ConfigError unless an argument of the engine is an object of a type."""
    if not isinstance(value, expected):
        remedy = messages.GIVE_OBJECT(type=expected.__name__)
        _refuse(messages.ENGINE(), name, value, remedy)


def check_methods(name: str, value: object, methods: Iterable[str], remedy: MessageText) -> None:
    """Raise ConfigError unless an argument of the engine is an object with some methods."""
    has_all = all(callable(getattr(value, method, None)) for method in methods)
    if isinstance(value, type) or not has_all:
        _refuse(messages.ENGINE(), name, value, remedy)


def check_submission(submission: object) -> None:
    """Raise IllegalArgument when the arguments of a submission have wrong types."""
    if not isinstance(submission, Submission):
        remedy = messages.GIVE_OBJECT(type=Submission.__name__)
        refuse_argument(messages.CALL(function="submit"), "submission", submission, remedy)
    operation: object = submission.operation
    targets: object = submission.targets
    params: object = submission.params
    if not isinstance(operation, str):
        subject, remedy = messages.CALL(function="submit"), messages.NAME_OPERATION()
        refuse_argument(subject, "operation", operation, remedy)
    if isinstance(targets, str | bytes | Mapping) or not isinstance(targets, Iterable):
        _refuse_part(submission, "targets", targets, messages.GIVE_TARGETS)
    if isinstance(targets, tuple | list):  # another iterable can be read only once
        for target in targets:
            if not isinstance(target, str) or not target:
                _refuse_part(submission, "a target", target, messages.GIVE_TARGETS)
    if not isinstance(params, Mapping):
        _refuse_part(submission, "params", params, messages.GIVE_PARAMS)
    for key in params:
        if not isinstance(key, str):
            _refuse_part(submission, "a key of params", key, messages.GIVE_PARAMS)


def check_key(key: object) -> None:
    """Raise IllegalArgument unless an idempotency key has the right types."""
    subject = messages.CALL(function="submit")
    if not isinstance(key, IdempotencyKey):
        remedy = messages.GIVE_OBJECT(type=IdempotencyKey.__name__)
        refuse_argument(subject, "key", key, remedy)
    for name, value in (("key.text", key.text), ("key.digest", key.digest)):
        if not _is_text(value):
            refuse_argument(subject, name, value, messages.GIVE_TEXT())


def refuse_argument(subject: str, name: str, value: object, remedy: MessageText) -> NoReturn:
    """Raise IllegalArgument for an argument: name of the call, of the argument, and its value."""
    message = messages.VALUE_INVALID(subject=subject, name=name, value=_show(value))
    raise IllegalArgument(message, remedy=remedy)


def _check_stage(subject: MessageText, stage: Stage) -> None:
    if not isinstance(stage.kind, StageKind):
        _refuse(subject, "kind", stage.kind, messages.GIVE_KIND())
    _check_function(subject, "run", stage.run)
    for name in ("undo", "confirm_stopped"):
        if (function := getattr(stage, name)) is not None:
            _check_function(subject, name, function)
    flags = stage.flags
    if not isinstance(flags, Flags) or not all(
        isinstance(getattr(flags, flag.name), bool) for flag in fields(Flags)
    ):
        _refuse(subject, "flags", flags, messages.GIVE_FLAGS())
    if stage.undo is not None and not flags.can_rollback:
        raise ConfigError(
            messages.UNDO_WITHOUT_FLAG(subject=subject), remedy=messages.PERMIT_ROLLBACK()
        )
    check_duration(subject, "timeout_s", stage.timeout_s)
    check_duration(subject, "node_timeout_s", stage.node_timeout_s, optional=True)
    if stage.node_timeout_s is not None and stage.node_timeout_s < stage.timeout_s:
        remedy = messages.GIVE_LONGER_NODE(timeout_s=stage.timeout_s)
        _refuse(subject, "node_timeout_s", stage.node_timeout_s, remedy)


def _check_lock(subject: MessageText, operation: Operation) -> None:
    key, stage = operation.lock_key, operation.takes_lock
    if key is None:
        if stage is not None:
            raise ConfigError(
                messages.STAGE_WITHOUT_LOCK(operation=subject, stage=_show(stage)),
                remedy=messages.SET_LOCK_KEY(),
            )
        return
    _check_name(subject, "lock_key", key)
    if stage is None:
        raise ConfigError(
            messages.LOCK_WITHOUT_STAGE(operation=subject, key=key),
            remedy=messages.DECLARE_TAKES_LOCK(),
        )
    normal = [each.name for each in operation.stages if each.kind is StageKind.NORMAL]
    if stage not in normal:
        remedy = messages.NAME_NORMAL_STAGE(stages=", ".join(normal) or "none")
        _refuse(subject, "takes_lock", stage, remedy)


def _check_function(subject: MessageText, name: str, function: object) -> None:
    """Check that a function is async and can be called with a StepContext."""
    value = _show(function)
    remedy: MessageText = messages.GIVE_STEP(name=name)
    reason: MessageText | None = None
    if inspect.iscoroutine(function):
        reason, remedy = messages.IS_COROUTINE(value=value), messages.GIVE_FUNCTION()
        function.close()
    elif inspect.isasyncgenfunction(function):
        reason = messages.IS_GENERATOR(value=value)
    elif isinstance(function, type) or not (
        inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    ):
        reason = messages.IS_NOT_ASYNC(value=value)
    else:
        try:
            inspect.signature(cast("Callable[..., Any]", function)).bind(None)
        except TypeError as exc:
            reason = messages.ARGUMENTS_WRONG(reason=exc)
    if reason is not None:
        raise ConfigError(
            messages.FUNCTION_INVALID(subject=subject, name=name, reason=reason), remedy=remedy
        )


def _check_name(subject: MessageText, name: str, value: object) -> None:
    if not _is_text(value) or not value.strip():
        _refuse(subject, name, value, messages.GIVE_NAME())


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is a text that can be stored: without a lone surrogate."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _refuse(subject: str, name: str, value: object, remedy: MessageText) -> NoReturn:
    message = messages.VALUE_INVALID(subject=subject, name=name, value=_show(value))
    raise ConfigError(message, remedy=remedy)


def _refuse_part(submission: Submission, name: str, value: object, remedy: Message) -> NoReturn:
    subject = messages.SUBMISSION(operation=submission.operation)
    refuse_argument(subject, name, value, remedy())


def _show(value: object) -> str:
    """Return a short text that identifies a value, for functions and classes their full name."""
    name = getattr(value, "__qualname__", None)
    if callable(value) and isinstance(name, str):
        return f"{getattr(value, '__module__', '')}.{name}"
    return _SHORT.repr(value)
