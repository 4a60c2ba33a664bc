"""Parameters of a server: their names, types and limits, and what is wrong with a value. Pure.

`seekdb_parameters.tsv` is recorded from the server program by tests/layouts/record_parameters.py.
The program ignores an unknown parameter; it ends without a line in its log if it refuses a value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from dagengine.errors import MessageText
from tasks.cluster import messages

_SIZE = re.compile(r"([0-9]{1,12})([kmgtpKMGTP]?)[bB]?")

PARAMETERS_FILE = Path(__file__).with_name("seekdb_parameters.tsv")


class ParameterType(StrEnum):
    """Type of a parameter, as the server names it."""

    BOOL = "BOOL"
    CAPACITY = "CAPACITY"
    DOUBLE = "DOUBLE"
    INT = "INT"
    MOMENT = "MOMENT"
    STRING = "STRING"
    TIME = "TIME"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter, and the limits that the server enforces.

    Attributes:
        name: in lower case; the server ignores the case.
        type: of its values.
        minimum, maximum: in bytes, microseconds or the number itself; None if there is no limit.
        values: permitted texts; for a number, those permitted beside the range; empty if any is.
    """

    name: str
    type: ParameterType
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()


_HEADER = "name\ttype\tminimum\tmaximum\tvalues"
_CAPACITY_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_TIME_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_UNITS = {
    ParameterType.CAPACITY: {name.upper(): size for name, size in _CAPACITY_UNITS.items()},
    ParameterType.TIME: _TIME_UNITS,
}
_MOST_BYTES = (1 << 63) - 1
# Source: seekdb 1.4 here. White space before a number is accepted, after it is not.
_CAPACITY = re.compile(r"\s*\+?([0-9]{1,20})(?:([kmgtp])b?|b)", re.IGNORECASE | re.ASCII)
_ZERO = re.compile(r"\s*\+?0+", re.ASCII)
_INTEGER = re.compile(r"\s*[-+]?(?:[0-9]{1,40}|0x[0-9a-f]{1,16})", re.IGNORECASE | re.ASCII)
_DOUBLE = re.compile(r"\s*[-+]?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:e[-+]?[0-9]{1,2})?", re.I | re.ASCII)
_TIME = re.compile(r"\s*\+?([0-9]{1,18})(us|ms|[smhd])?", re.IGNORECASE | re.ASCII)
_MOMENT = re.compile(r"(?:[01]?[0-9]|2[0-3]):[0-5]?[0-9]|disable", re.IGNORECASE | re.ASCII)
_MODULE = re.compile(r".*:")  # of a log level for some modules only
_BOOLS = frozenset({"true", "t", "yes", "on", "1", "false", "f", "no", "off", "0"})
_FORMS = {
    ParameterType.BOOL: messages.FORM_BOOL,
    ParameterType.CAPACITY: messages.FORM_CAPACITY,
    ParameterType.DOUBLE: messages.FORM_DOUBLE,
    ParameterType.INT: messages.FORM_INT,
    ParameterType.MOMENT: messages.FORM_MOMENT,
    ParameterType.TIME: messages.FORM_TIME,
}


def render_parameters(parameters: Iterable[Parameter]) -> str:
    """Return the content of a file of parameters."""
    lines = [_HEADER]
    for each in parameters:
        bounds = ("" if bound is None else str(bound) for bound in (each.minimum, each.maximum))
        lines.append("\t".join((each.name, each.type, *bounds, " ".join(each.values))))
    return "\n".join(lines) + "\n"


def load_parameters(file: Path = PARAMETERS_FILE) -> dict[str, Parameter]:
    """Read a file of parameters; the result is by name."""
    parameters = {}
    for line in file.read_text(encoding="utf-8").splitlines()[1:]:
        name, kind, minimum, maximum, values = line.split("\t")
        parameters[name] = Parameter(
            name,
            ParameterType(kind),
            int(minimum) if minimum else None,
            int(maximum) if maximum else None,
            tuple(values.split()),
        )
    return parameters


def find_unknown(
    options: Iterable[str], parameters: Mapping[str, Parameter]
) -> dict[str, str | None]:
    """Return the options that are no parameters, each with the nearest known name, if any is near.

    The names of hidden parameters begin with `_`; they are not listed, so they may all exist.
    """
    unknown: dict[str, str | None] = {}
    for option in options:
        name = option.lower()
        if name in parameters or name.startswith("_"):
            continue
        near = difflib.get_close_matches(name, parameters, n=1)
        unknown[option] = near[0] if near else None
    return unknown


def explain_refusal(
    option: str, value: str, parameters: Mapping[str, Parameter]
) -> MessageText | None:
    """Return why the server refuses the value of an option; None if it accepts or ignores it."""
    parameter = parameters.get(option.lower())
    if parameter is None or not value:
        return None  # an empty value stands for the default
    if parameter.type is ParameterType.STRING:
        return _explain_text(option, value, parameter)
    if value in parameter.values:
        return None
    number = read_number(parameter.type, value)
    if number is None:
        form = _FORMS[parameter.type]()
        return messages.OPTION_MALFORMED(option=option, value=value, form=form)
    if parameter.minimum is not None and number < parameter.minimum:
        minimum = _render_number(parameter.type, parameter.minimum)
        return messages.OPTION_BELOW_MINIMUM(option=option, value=value, minimum=minimum)
    if parameter.maximum is not None and number > parameter.maximum:
        maximum = _render_number(parameter.type, parameter.maximum)
        return messages.OPTION_ABOVE_MAXIMUM(option=option, value=value, maximum=maximum)
    return None


def read_number(kind: ParameterType, text: str) -> int | Decimal | None:
    """Return the value of a text of this type in its base unit; None if the server refuses it."""
    match kind:
        case ParameterType.CAPACITY:
            return _read_capacity(text)
        case ParameterType.TIME:
            time = _TIME.fullmatch(text)
            return int(time[1]) * _TIME_UNITS[(time[2] or "s").lower()] if time else None
        case ParameterType.INT:
            base = 16 if "x" in text.lower() else 10
            return int(text, base) if _INTEGER.fullmatch(text) else None
        case ParameterType.DOUBLE:
            return Decimal(text.strip()) if _DOUBLE.fullmatch(text) else None
        case ParameterType.BOOL:
            return 0 if text.lower() in _BOOLS else None
        case ParameterType.MOMENT:
            return 0 if _MOMENT.fullmatch(text) else None
        case ParameterType.STRING:
            return 0


def _read_capacity(text: str) -> int | None:
    """Return a size in bytes. The server refuses a number without a unit, other than 0."""
    if _ZERO.fullmatch(text):
        return 0
    capacity = _CAPACITY.fullmatch(text)
    if capacity is None:
        return None
    size = int(capacity[1]) * _CAPACITY_UNITS[(capacity[2] or "").lower()]
    return size if size <= _MOST_BYTES else None


def _explain_text(option: str, value: str, parameter: Parameter) -> MessageText | None:
    """Compare with the permitted texts. Some parameters take a list such as `WARN,SQL.*:DEBUG`."""
    known = {text.lower() for text in parameter.values}
    parts = [_MODULE.sub("", part).strip().lower() for part in value.split(",")]
    if not known or all(part in known for part in parts):
        return None
    names = ", ".join(parameter.values)
    return messages.OPTION_UNKNOWN_VALUE(option=option, value=value, names=names)


def _render_number(kind: ParameterType, number: int) -> str:
    """Return a number with the largest unit in which it is whole."""
    units = _UNITS.get(kind, {"": 1})
    unit = max((name for name in units if number % units[name] == 0), key=units.__getitem__)
    return f"{number // units[unit]}{unit if number else ''}"


def parse_size(text: str) -> int | None:
    """Return a size in bytes, such as 2147483648 for `2G`; None for any other text."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * _CAPACITY_UNITS[match[2].lower()] if match else None
