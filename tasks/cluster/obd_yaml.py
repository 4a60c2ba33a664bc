"""YAML parsing of obd files with obd's own parser and version: ruamel.yaml, YAML 1.2."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from dagengine.extension import YamlRefused
from tasks.cluster import messages


def read_obd_yaml(text: str) -> Any:
    """Return the content of an obd file, with the same strings and numbers as obd reads.

    Raises:
        YamlRefused: obd could not read the file either; the message quotes none of its content.
    """
    try:
        return YAML(typ="rt", pure=True).load(text)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        is_duplicate = isinstance(exc, DuplicateKeyError)
        if not mark:
            text = messages.KEY_TWICE() if is_duplicate else messages.NOT_YAML()
            raise YamlRefused(text) from None
        message = messages.KEY_TWICE_AT if is_duplicate else messages.NOT_YAML_AT
        raise YamlRefused(message(line=mark.line + 1, column=mark.column + 1)) from None
    except RecursionError:
        raise YamlRefused(messages.NESTED_TOO_DEEPLY(), messages.FLATTEN()) from None
    except (ValueError, TypeError, AttributeError, KeyError):
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
