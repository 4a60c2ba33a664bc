"""YAML parsing of obd files with obd's own parser and version: ruamel.yaml, YAML 1.2."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from dagengine.extension import YamlRefused


def read_obd_yaml(text: str) -> Any:
    """Return the content of an obd file, with the same strings and numbers as obd reads.

    Raises:
        YamlRefused: obd could not read the file either; the message quotes none of its content.
    """
    try:
        return YAML(typ="rt", pure=True).load(text)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = "a key occurs twice" if isinstance(exc, DuplicateKeyError) else "it is not YAML"
        raise YamlRefused(f"{what}{where}") from None
    except RecursionError:
        raise YamlRefused("it is nested too deeply", "flatten it") from None
    except (ValueError, TypeError, AttributeError, KeyError):
        raise YamlRefused("a value is not what its form or tag promises") from None


def is_encrypted_by_obd(inner_config: str) -> bool:
    """Return whether an inner_config.yaml next to an obd file marks its passwords as encrypted.

    Source: `encrypt_manager` of obd 4.x (core.py), which stores `$_ENCRYPT_PASSWORD` there.
    """
    try:
        content = read_obd_yaml(inner_config)
    except YamlRefused:
        return False
    return isinstance(content, dict) and content.get("$_ENCRYPT_PASSWORD") is True
