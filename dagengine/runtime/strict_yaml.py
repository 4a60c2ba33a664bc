"""Strict YAML parser for the engine file and the cluster file; ambiguous input is an error.

PyYAML implements YAML 1.1, other programs implement YAML 1.2, and users often know only one of
them. A plain scalar with different values in the two versions (`yes`, `0123`, `12:30:45`) is
rejected, and so is a duplicate key. The file may contain a password, so an error message never
quotes it, except for an ambiguous scalar.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

import yaml

from dagengine.runtime import messages
from dagengine.runtime.yaml_structure import StructureCheck, YamlRefused, render_place
from dagengine.text import escape_controls

MALFORMED = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What a constructor of PyYAML or ruamel.yaml raises for a value that does not match its tag."""

_SECRETS = ("password", "passphrase", "secret")
# Booleans in YAML 1.1 that PyYAML reads as text.
_LONE_LETTERS = frozenset("yYnN")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False}
_BOOLEANS["FALSE"] = False
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGERS = (
    (re.compile(r"[-+]?[0-9]+"), 10),
    (re.compile(r"0o[0-7]+"), 8),
    (re.compile(r"0x[0-9a-fA-F]+"), 16),
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS = 100
_MAX_SHOWN = 40


class _StrictLoader(yaml.SafeLoader):
    """Rejects ambiguous scalars, and duplicate keys, as PyYAML would drop the first value."""

    def __init__(self, text: str) -> None:
        self._structure = StructureCheck()
        super().__init__(text)

    def get_event(self) -> yaml.Event:
        event = super().get_event()  # type: ignore[no-untyped-call]
        self._structure.feed(event)
        return cast("yaml.Event", event)

    def construct_document(self, node: yaml.Node) -> Any:
        _check_scalars(self, node, ())
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except MALFORMED:
            # The text does not match its tag; PyYAML does not wrap the cause.
            raise YamlRefused(
                messages.VALUE_MALFORMED_AT(place=render_place(node.start_mark))
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if key.value in seen:
                place = render_place(key.start_mark)
                raise YamlRefused(
                    messages.KEY_TWICE(key=key.value, place=place), messages.REMOVE_ONE()
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Return the content of a configuration file.

    Raises:
        YamlRefused: the text is not YAML, a key occurs twice, or a plain scalar is ambiguous.
    """
    return _load(text, lambda loader: loader.get_single_data())


def outline_yaml(text: str) -> Mapping[str, frozenset[str]] | None:
    """Return the top-level keys, each with the keys below it; None if the text is not a mapping.

    Raises:
        YamlRefused: the text is not YAML.
    """
    node = _load(text, lambda loader: loader.get_single_node())
    if not isinstance(node, yaml.MappingNode):
        return None
    return {str(key.value): frozenset(_keys(value)) for key, value in node.value}


def find_yaml_line(text: str, path: Sequence[str | int]) -> int | None:
    """Return the line of a key or item, or of what contains it; None if the text is not YAML.

    Args:
        text: of the file.
        path: keys and positions from the top, such as `("zones", "zone1", 0, "ip")`.
    """
    try:
        node = _load(text, lambda loader: loader.get_single_node())
    except YamlRefused:
        return None
    line: int | None = None
    for step in path:
        below = _find_below(node, step)
        if below is None:
            break
        mark, node = below
        line = mark.line + 1
    return line


def _find_below(node: yaml.Node, step: str | int) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value) == str(step):
                return key.start_mark, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark, node.value[step]
    return None


def _load(text: str, construct: Callable[[_StrictLoader], Any]) -> Any:
    loader: _StrictLoader | None = None
    try:
        loader = _StrictLoader(text)
        return construct(loader)
    except yaml.YAMLError as exc:
        # PyYAML's message would quote the file, which may contain a password by mistake.
        raise _not_yaml(text, exc) from None
    except YamlRefused:
        raise
    except (RecursionError, *MALFORMED):  # such as an escape of a character above U+10FFFF
        if loader is None:
            raise YamlRefused(messages.VALUE_MALFORMED()) from None
        place = render_place(loader.get_mark())
        raise YamlRefused(messages.VALUE_MALFORMED_AT(place=place)) from None
    finally:
        if loader is not None:
            loader.dispose()


def _not_yaml(text: str, exc: yaml.YAMLError) -> YamlRefused:
    """Return the error for a text that the parser does not accept."""
    if isinstance(exc, yaml.reader.ReaderError):
        line = text.count("\n", 0, exc.position) + 1
        code = escape_controls(chr(exc.character)) if isinstance(exc.character, int) else ""
        return YamlRefused(messages.CHARACTER_INVALID(code=code, line=line), messages.REMOVE_IT())
    mark = getattr(exc, "problem_mark", None)
    if mark is None:
        return YamlRefused(messages.NOT_YAML())
    is_tab = "\\t" in (getattr(exc, "problem", None) or "")
    remedy = messages.REPLACE_TABS() if is_tab else ""
    return YamlRefused(messages.NOT_YAML_AT(place=render_place(mark)), remedy)


def _keys(node: yaml.Node) -> list[str]:
    return [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []


def _check_scalars(
    loader: _StrictLoader, root: yaml.Node, path: tuple[str, ...], seen: set[int] | None = None
) -> None:
    """Reject the first ambiguous scalar; check each node once, regardless of its aliases."""
    seen = set() if seen is None else seen
    if id(root) in seen:
        return
    seen.add(id(root))
    match root:
        case yaml.ScalarNode():
            _check_scalar(loader, root, path)
        case yaml.SequenceNode():
            for number, item in enumerate(root.value):
                _check_scalars(loader, item, (*path, str(number)), seen)
        case yaml.MappingNode():
            for key, value in root.value:
                below = (*path, str(key.value))
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    _check_scalar(loader, key, below)
                if below != ("root_password",):  # any value of this key has a separate error
                    _check_scalars(loader, value, below, seen)


def _check_scalar(loader: _StrictLoader, node: yaml.ScalarNode, path: tuple[str, ...]) -> None:
    text = node.value
    implied = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if node.style is not None or node.tag != implied:  # quoted or tagged, so not ambiguous
        return
    older, newer = _read_as_1_1(loader, node), read_as_1_2(text)
    if _is_same(older, newer):
        return
    name = ".".join(path)
    is_secret = any(word in part.lower() for part in path for word in _SECRETS)
    value_text = (
        messages.SECRET_VALUE() if is_secret else messages.SHOWN_VALUE(value=text[:_MAX_SHOWN])
    )
    remedy = messages.QUOTE_OR_BOOLEAN() if isinstance(older, bool) else messages.QUOTE()
    raise YamlRefused(
        messages.VALUE_AMBIGUOUS(key=name, line=node.start_mark.line + 1, value=value_text),
        remedy,
    )


def _read_as_1_1(loader: _StrictLoader, node: yaml.ScalarNode) -> Any:
    if node.value in _LONE_LETTERS:
        return node.value in "yY"
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError):  # `=`, or a nonexistent date
        return None
    finally:
        loader.constructed_objects.pop(node, None)


def read_as_1_2(text: str) -> Any:
    """Return the value of a plain scalar in YAML 1.2 (core schema)."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) <= _MAX_DIGITS:
        for form, base in _INTEGERS:
            if form.fullmatch(text):
                return int(text, base)
        if _FLOAT.fullmatch(text):
            return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _is_same(older: Any, newer: Any) -> bool:
    return type(older) is type(newer) and repr(older) == repr(newer)  # nan is not equal to itself
