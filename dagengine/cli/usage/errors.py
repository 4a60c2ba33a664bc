"""Translation of typer's usage errors: what is wrong, with which value, and what is allowed.

typer's texts name types of Python and of pydantic. The classes of its errors are not public, so
they are recognised by their attributes and texts; an unknown text is shown unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from dagengine.cli.usage import messages
from dagengine.cli.usage.choices import join_choices
from dagengine.cli.usage.hidden_values import hide_values
from dagengine.errors import Message, MessageText

_CHOICES = re.compile(r"Choose from:\s+(.*)", re.DOTALL)
_NUMBERS: Mapping[str, tuple[Message, Message]] = {
    "float": (messages.NOT_NUMBER, messages.WRITE_NUMBER),
    "int": (messages.NOT_WHOLE_NUMBER, messages.WRITE_WHOLE_NUMBER),
}


@dataclass(frozen=True, slots=True)
class UsageProblem:
    """What is wrong with a command line.

    Attributes:
        message: what, and with which value.
        remedy: what to write instead; empty if the help of the command has to be read.
    """

    message: str
    remedy: str = ""


def explain_usage(exc: typer.TyperException) -> UsageProblem:
    """Return an error of typer, or of a command's own check, in words for users."""
    if isinstance(exc.message, MessageText):
        return UsageProblem(exc.message)
    if (param := getattr(exc, "param", None)) is not None:
        return _explain_parameter(exc, param)
    if (name := getattr(exc, "option_name", None)) is not None:
        return _explain_option(exc, str(name))
    text = exc.format_message()
    for form, explain in _FORMS:
        if (match := form.search(text)) is not None:
            return explain(match)
    return UsageProblem(text.removesuffix("."))


# --- internal functions ---


def _explain_parameter(exc: typer.TyperException, param: Any) -> UsageProblem:
    parameter = _name_parameter(param)
    choices = _find_choices(exc, param)
    known = join_choices(choices) if choices else ""
    if hasattr(exc, "param_type"):
        hint = messages.WRITE_ONE_OF(known=known) if known else ""
        return UsageProblem(messages.PARAMETER_MISSING(parameter=parameter), hint)
    value, kind, bound = _read_cause(exc)
    reason: str
    remedy: str
    if value is None:
        reason = exc.message.removesuffix(".")
        return UsageProblem(messages.VALUE_UNUSABLE(parameter=parameter, reason=reason))
    if known:
        reason, remedy = messages.NOT_ONE_OF(known=known), messages.WRITE_ONE_OF(known=known)
    elif bound and value.lower() != "nan":
        reason, remedy = messages.OUT_OF_RANGE(bound=bound), messages.WRITE_IN_RANGE(bound=bound)
    else:
        number = "int" if kind.startswith("int") else "float"
        reason, remedy = (message() for message in _NUMBERS[number])
    return UsageProblem(
        messages.VALUE_INVALID(parameter=parameter, value=value, reason=reason), remedy
    )


def _read_cause(exc: typer.TyperException) -> tuple[str | None, str, str]:
    """Return the value, the kind of error and the limit; no value if the error is not known."""
    if (errors := getattr(exc.__cause__, "errors", None)) is None:
        return None, "", ""
    first = errors()[0]
    context, kind = first.get("ctx", {}), str(first["type"])
    bound: str = ""
    if "ge" in context:
        bound = messages.AT_LEAST(limit=float(context["ge"]))
    elif "le" in context:
        bound = messages.AT_MOST(limit=float(context["le"]))
    is_known = bound or kind.startswith(("int", "float")) or kind == "value_error"
    return (str(first["input"]) if is_known else None), kind, bound


def _find_choices(exc: typer.TyperException, param: Any) -> list[str]:
    text = param.get_missing_message(ctx=getattr(exc, "ctx", None)) or ""
    match = _CHOICES.search(text)
    return [] if match is None else [name.strip() for name in match[1].split(",")]


def _name_parameter(param: Any) -> str:
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return messages.ARGUMENT(name=param.get_error_hint().strip("'[]").upper())


def _explain_option(exc: typer.TyperException, name: str) -> UsageProblem:
    if hasattr(exc, "possibilities"):
        near = exc.possibilities
        remedy = messages.USE_NEAREST(names=join_choices(sorted(near))) if near else ""
        return UsageProblem(messages.OPTION_UNKNOWN(name=name), remedy)
    if "does not take" in exc.message:
        return UsageProblem(messages.OPTION_WITH_VALUE(name=name), messages.OMIT_VALUE(name=name))
    return UsageProblem(messages.OPTION_WITHOUT_VALUE(name=name), messages.WRITE_VALUE(name=name))


def _explain_command(match: re.Match[str]) -> UsageProblem:
    near = re.findall(r"'([^']+)'", match[2])
    remedy = messages.USE_NEAREST(names=join_choices(near)) if near else ""
    return UsageProblem(messages.COMMAND_UNKNOWN(name=match[1]), remedy)


def _explain_arguments(match: re.Match[str]) -> UsageProblem:
    arguments = " ".join(hide_values(match[1].split()))
    return UsageProblem(messages.ARGUMENTS_UNEXPECTED(arguments=arguments))


_FORMS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], UsageProblem]]] = (
    (re.compile(r"No such command '(.*?)'(.*)", re.DOTALL), _explain_command),
    (re.compile(r"unexpected extra arguments?(?:\(s\))? \((.*)\)", re.DOTALL), _explain_arguments),
)
