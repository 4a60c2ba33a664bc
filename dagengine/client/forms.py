"""The forms of the responses that the client returns, and the check that a response has its form.

The server at a URL may be another program or another version. Its response is checked where it is
decoded, so that a later error in its use is a defect of the program that uses it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from dagengine.client import messages

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 40


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose items have one form."""

    item: Form


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any members, whose values have one form."""

    value: Form


@dataclass(frozen=True, slots=True)
class Nullable:
    """A form, or null. `may_be_absent` also permits an object without the member."""

    form: Form
    may_be_absent: bool = False


class Time:
    """A text with a date and a time."""


Form: TypeAlias = "type[object] | ListOf | MapOf | Nullable | Mapping[str, Form]"
"""`object` is any value; a mapping is an object with at least these members."""

_EXPECTED = {str: "a text", int: "a whole number", bool: "true or false", Time: "a time"}


def find_difference(value: object, form: Form, path: str = "data") -> str:
    """Return the first difference between a decoded value and a form; empty if there is none."""
    match form:
        case Nullable(inner, _):
            return "" if value is None else find_difference(value, inner, path)
        case ListOf(item):
            if not isinstance(value, list):
                return _differs(path, value, "a list")
            parts = ((f"{path}[{number}]", each, item) for number, each in enumerate(value))
        case MapOf(inner):
            if not isinstance(value, dict):
                return _differs(path, value, "an object")
            parts = ((f"{path}.{name}", each, inner) for name, each in value.items())
        case type():
            return "" if _has_type(value, form) else _differs(path, value, _EXPECTED[form])
        case _:
            if not isinstance(value, dict):
                return _differs(path, value, "an object")
            for name, inner in form.items():
                if name not in value and not (isinstance(inner, Nullable) and inner.may_be_absent):
                    return messages.MEMBER_MISSING(path=f"{path}.{name}")
            parts = ((f"{path}.{name}", value.get(name), inner) for name, inner in form.items())
    return next(filter(None, (find_difference(each, f, where) for where, each, f in parts)), "")


def _has_type(value: object, expected: type[object]) -> bool:
    if expected is Time:
        return _is_time(value)
    return isinstance(value, expected) and (expected is not int or not isinstance(value, bool))


def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _differs(path: str, value: object, expected: str) -> str:
    return messages.MEMBER_DIFFERS(path=path, value=_SHORT.repr(value), expected=expected)


# --- The responses: the members that this client and the command line read -----------------------

_AGENT: dict[str, Form] = {"ip": str, "port": int}
_LINES = Nullable(ListOf(str))
_ENTITY: dict[str, Form] = {
    "id": str,
    "name": str,
    "state": str,
    "operator": str,
    "start_time": Time,
    "end_time": Time,
}
_WAIT: dict[str, Form] = {
    "kind": str,
    "on": str,
    "since": Time,
    "last": Nullable(str, may_be_absent=True),
    "deadline": Nullable(Time, may_be_absent=True),
}
_DETAILS = Nullable(
    {
        "wait": Nullable(MapOf(_WAIT), may_be_absent=True),
        "evidence": Nullable(MapOf(object), may_be_absent=True),
        "summary": Nullable(str, may_be_absent=True),
    }
)
_SUB_TASK: dict[str, Form] = {
    **_ENTITY,
    "execute_times": int,
    "execute_agent": _AGENT,
    "task_logs": _LINES,
}
_CHECK: dict[str, Form] = dict.fromkeys(("level", "check", "cause", "remedy"), str)
_SERVER: dict[str, Form] = {
    "ip": str,
    "obshell_port": int,
    "ob_status": int,
    "status": str,
    "pid": Nullable(int, may_be_absent=True),
    "process_start": Nullable(Time, may_be_absent=True),
    "why": Nullable(str, may_be_absent=True),
}

SECRET: Form = {"public_key": str}
INFO: Form = _AGENT
STATUS: Form = {"state": int}
NODE: Form = {**_ENTITY, "additional_data": _DETAILS, "sub_tasks": Nullable(ListOf(_SUB_TASK))}
DAG: Form = {
    **_ENTITY,
    "stage": int,
    "max_stage": int,
    "maintenance_type": int,
    "additional_data": _DETAILS,
    "nodes": Nullable(ListOf(NODE)),
}
DAGS: Form = {"contents": Nullable(ListOf(DAG))}
DAG_PAGE: Form = {"contents": ListOf(DAG), "next_cursor": Nullable(str)}
TOPOLOGY: Form = {"zones": ListOf({"name": str, "servers": ListOf(_SERVER)})}
SERVERS: Form = {"agent_info": ListOf({**_AGENT, "zone": str})}
LOCKS: Form = {
    "contents": ListOf({"key": str, "dag_id": Nullable(str), "name": str, "since": Time})
}
LOGS: Form = {"contents": Nullable(ListOf({"log_content": str}))}
AUDIT: Form = {
    "contents": ListOf(
        {
            "time": Time,
            "dag_id": Nullable(str),
            "node_id": Nullable(str),
            "action": str,
            "by": str,
            "reason": str,
        }
    )
}
ATTEMPTS: Form = {
    "contents": ListOf(
        {
            "attempt_no": int,
            "outcome": Nullable(str),
            "start_time": Time,
            "end_time": Time,
            "task_logs": ListOf(str),
        }
    )
}
PLAN: Form = {
    "name": str,
    "digest": str,
    "lock": Nullable({"key": str, "dag_id": Nullable(str), "about": str}),
    "servers": ListOf(
        {
            "server": str,
            "verdict": str,
            "reason": str,
            "checks": ListOf(_CHECK),
            "commands": ListOf(str),
        }
    ),
}
_EVENT: dict[str, Form] = {"seq": int, "id": str}
EVENTS: dict[str, Form] = {
    "line": {**_EVENT, "log_content": str},
    "sub_task": {**_EVENT, "state": str, "operator": str, "execute_times": int, "time": Time},
}
"""By kind; the events of all other kinds have the form EVENT."""
EVENT: Form = _EVENT
