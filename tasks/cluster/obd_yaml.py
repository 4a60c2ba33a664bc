"""YAML parsing of obd files with obd's own parser and version: ruamel.yaml, YAML 1.2."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, RoundTripConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.parser import RoundTripParser
from ruamel.yaml.reader import ReaderError

from dagengine.extension import StructureCheck, YamlRefused
from tasks.cluster import messages

_MALFORMED = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


class _Parser(RoundTripParser):
    """Checks the structure of a file while it is parsed."""

    def __init__(self, loader: Any) -> None:
        self._structure = StructureCheck()
        super().__init__(loader)

    def get_event(self) -> Any:
        event = super().get_event()
        self._structure.feed(event)
        return event


class _Constructor(RoundTripConstructor):
    """Names the place of a value that does not match its form or tag."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except YamlRefused:
            raise
        except _MALFORMED:
            mark = node.start_mark
            raise YamlRefused(
                messages.VALUE_MALFORMED_AT(line=mark.line + 1, column=mark.column + 1)
            ) from None


def read_obd_yaml(text: str) -> Any:
    """Return the content of an obd file, with the same strings and numbers as obd reads.

    Raises:
        YamlRefused: obd could not read the file either, or its structure exceeds the limits of
            `StructureCheck`; the message quotes none of its content.
    """
    reader = YAML(typ="rt", pure=True)
    reader.Parser, reader.Constructor = _Parser, _Constructor
    try:
        return reader.load(text)
    except YamlRefused:
        raise
    except ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise YamlRefused(messages.NOT_YAML_LINE(line=line)) from None
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        is_duplicate = isinstance(exc, DuplicateKeyError)
        if not mark:
            text = messages.KEY_TWICE() if is_duplicate else messages.NOT_YAML()
            raise YamlRefused(text) from None
        message = messages.KEY_TWICE_AT if is_duplicate else messages.NOT_YAML_AT
        raise YamlRefused(message(line=mark.line + 1, column=mark.column + 1)) from None
    except _MALFORMED:
        raise YamlRefused(messages.VALUE_MALFORMED()) from None


def is_encrypted_by_obd(inner_config: str) -> bool:
    """Return whether an inner_config.yaml next to an obd file marks its passwords as encrypted.

    Source: `encrypt_manager` of obd 4.x (core.py), which stores `$_ENCRYPT_PASSWORD` there.
    """
    try:
        content = read_obd_yaml(inner_config)
    except YamlRefused:
        return False
    return isinstance(content, dict) and content.get("$_ENCRYPT_PASSWORD") is True
