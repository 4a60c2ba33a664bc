"""Limits on the structure of a YAML file, checked while it is parsed, before values are built.

A small file may describe a huge value: nested aliases (an "alias bomb"), thousands of levels, a
number of thousands of digits. The check works on the events of a parser, which PyYAML and
ruamel.yaml have in common.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagengine.runtime import messages
from dagengine.text import escape_controls

_MAX_BYTES = 1 << 20
_MAX_LEVELS = 50
_MAX_VALUES = 100_000  # with aliases written out; a file of 2,000 servers has about 60,000
_MAX_DIGITS = 100
_NUMBER = re.compile(
    r"[-+]?(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?)"
)
_TAGS = frozenset(
    (
        "!",
        *(
            f"tag:yaml.org,2002:{name}"
            for name in ["str", "int", "float", "bool", "null", "seq", "map"]
        ),
    )
)
_STARTS = ("SequenceStartEvent", "MappingStartEvent")
_ENDS = ("SequenceEndEvent", "MappingEndEvent")


class YamlRefused(ValueError):
    """Raised when a text is not valid YAML for a configuration file; names problem and line.

    Attributes:
        problem: the problem and its location.
        remedy: how to fix the problem.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        remedy = remedy or messages.CORRECT_FILE()
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def read_yaml_text(path: Path) -> str:
    """Return the text of a YAML file.

    Raises:
        OSError: the file cannot be read.
        YamlRefused: it is larger than 1 MiB, or not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise YamlRefused(messages.FILE_TOO_LARGE(limit_bytes=_MAX_BYTES), messages.SHORTEN())
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        # Suppress the cause because it contains the file, which may contain a password.
        raise YamlRefused(messages.NOT_UTF8(line=line), messages.SAVE_AS_UTF8()) from None


def render_place(mark: Any) -> str:
    """Return the place of a parser's mark: line and column, counted from 1."""
    return messages.PLACE(line=mark.line + 1, column=mark.column + 1)


@dataclass(slots=True)
class _Collection:
    """A sequence or mapping that has not ended; `values` counts what it contains, and itself."""

    anchor: str | None
    is_mapping: bool
    children: int = 0
    values: int = 1

    @property
    def expects_key(self) -> bool:
        return self.is_mapping and self.children % 2 == 0


class StructureCheck:
    """Check of one document: feed it every event of the parser, in order."""

    def __init__(self) -> None:
        self._open: list[_Collection] = []
        self._values_of: dict[str, int] = {}  # by anchor, with aliases written out

    def feed(self, event: Any) -> None:
        """Check an event of PyYAML or ruamel.yaml.

        Raises:
            YamlRefused: a limit is exceeded, a key is not a scalar, a tag is not supported, a
                value has a control character, or an alias refers to what contains it.
        """
        kind = type(event).__name__
        if kind in _STARTS:
            self._check_start(event)
            self._open.append(_Collection(event.anchor, kind == "MappingStartEvent"))
        elif kind in _ENDS:
            collection = self._open.pop()
            self._add(collection.anchor, collection.values, event)
        elif kind == "ScalarEvent":
            _check_tag(event)
            _check_number(event)
            _check_characters(event)
            self._add(event.anchor, 1, event)
        elif kind == "AliasEvent":
            if any(collection.anchor == event.anchor for collection in self._open):
                raise YamlRefused(messages.ALIAS_OF_ITSELF(place=render_place(event.start_mark)))
            # The parser's next stage refuses an unknown anchor.
            self._add(None, self._values_of.get(event.anchor, 1), event)

    def _check_start(self, event: Any) -> None:
        _check_tag(event)
        place = render_place(event.start_mark)
        if self._open and self._open[-1].expects_key:
            raise YamlRefused(messages.KEY_NOT_TEXT(place=place))
        if len(self._open) >= _MAX_LEVELS:
            raise YamlRefused(
                messages.NESTED_TOO_DEEPLY(place=place, levels=_MAX_LEVELS), messages.FLATTEN()
            )

    def _add(self, anchor: str | None, values: int, event: Any) -> None:
        if anchor is not None:
            self._values_of[anchor] = values
        if not self._open:
            return
        self._open[-1].children += 1
        self._open[-1].values += values
        if sum(collection.values for collection in self._open) > _MAX_VALUES:
            raise YamlRefused(
                messages.TOO_MANY_VALUES(limit=_MAX_VALUES, place=render_place(event.start_mark)),
                messages.USE_FEWER_ALIASES(),
            )


def _check_tag(event: Any) -> None:
    tag = event.tag if isinstance(event.tag, str) or event.tag is None else str(event.tag)
    if tag is not None and tag not in _TAGS:
        raise YamlRefused(
            messages.TAG_UNSUPPORTED(place=render_place(event.start_mark)), messages.REMOVE_TAG()
        )


def _check_number(event: Any) -> None:
    is_plain = event.style in (None, "") or event.tag is not None
    if is_plain and len(event.value) > _MAX_DIGITS and _NUMBER.fullmatch(event.value):
        raise YamlRefused(
            messages.NUMBER_TOO_LONG(place=render_place(event.start_mark), digits=_MAX_DIGITS),
            messages.QUOTE(),
        )


def _check_characters(event: Any) -> None:
    """Refuse control characters in quoted values: no name, path or option may contain them."""
    value = event.value.replace("\t", " ").replace("\n", " ")
    if escape_controls(value) == value:
        return
    code = next(escaped for c in value if (escaped := escape_controls(c)) != c)
    raise YamlRefused(
        messages.CONTROL_CHARACTER(code=code, place=render_place(event.start_mark)),
        messages.REMOVE_CHARACTER(),
    )
