"""YAML that other programs read differently is rejected, and errors quote only that value."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from dagengine.runtime.strict_yaml import YamlRefused, outline_yaml, read_as_1_2, read_yaml

AMBIGUOUS = [
    *("yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"),
    *("y", "Y", "n", "N"),
    *("0123", "-017", "+017", "089", "0o17", "0b11", "1_000", "0x1_F", "1_0.5"),
    *("12:30:45", "1:20", "-12:30", "190:20:30.15"),
    *("1e3", "1E5", "12e03", ".5e3", "1e400"),
    *("2024-01-31", "2024-01-31 10:00:00", "2026-13-45"),
    *("=", "<<"),
]
CLEAR = {
    "text": "text",
    "'0123'": "0123",
    '"yes"': "yes",
    "!!str 0123": "0123",
    "123456": 123456,
    "-5": -5,
    "+5": 5,
    "0": 0,
    "0x1F": 31,
    "1.5": 1.5,
    "1.": 1.0,
    "1.5e+3": 1500.0,
    "true": True,
    "FALSE": False,
    "~": None,
    "null": None,
    "": None,
    ".inf": float("inf"),
    "2G": "2G",
    "10.0.0.1": "10.0.0.1",
    "fe80::1": "fe80::1",
    "2001-1-1": "2001-1-1",
    "0o8": "0o8",
    "yes.": "yes.",
}


def pyyaml(text: str) -> Any:
    try:
        return yaml.safe_load(f"a: {text}\n")["a"]
    except (yaml.YAMLError, ValueError):
        return ValueError


def ruamel(text: str) -> Any:
    value = YAML(typ="safe", pure=True).load(f"a: {text}\n")["a"]
    return value.strip() if isinstance(value, str) else value


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_yaml_ambiguous_value_names_line_key_and_remedy(text: str) -> None:
    with pytest.raises(YamlRefused) as caught:
        read_yaml(f"x: 1\nzones:\n  - {{key: {text}}}\n")
    for part in ("zones.0.key in line 3", f"the value {text},", "quote it"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", [word for word in AMBIGUOUS if word not in ("=", "<<")])
def test_yaml_ambiguous_key_is_refused(text: str) -> None:
    with pytest.raises(YamlRefused, match="quote it"):
        read_yaml(f"zones:\n  {text}: 1\n")


@pytest.mark.parametrize(("text", "value"), CLEAR.items())
def test_yaml_clear_value_is_taken(text: str, value: Any) -> None:
    parsed = read_yaml(f"a: {text}\n")["a"]
    assert (parsed, type(parsed)) == (value, type(value))


def test_yaml_quoted_ambiguous_value_is_text() -> None:
    for text in AMBIGUOUS:
        assert read_yaml(f"a: '{text}'\n") == {"a": text}


def test_yaml_every_short_scalar_is_clear_or_refused() -> None:
    """PyYAML, ruamel.yaml and the core schema agree on every accepted value."""
    checked = 0
    for length in (1, 2, 3, 4):
        for letters in itertools.product("01.:_-+eox", repeat=length):
            text = "".join(letters)
            if text.endswith(":") or text[0] == ":" or (text.startswith("-") and length == 1):
                continue
            try:
                parsed = read_yaml(f"a: {text}\n")["a"]
            except YamlRefused:
                continue
            assert repr(parsed) == repr(read_as_1_2(text)), text
            assert repr(parsed) == repr(pyyaml(text)), text
            checked += 1
    assert checked > 1000


def test_yaml_ambiguous_values_differ_between_parsers() -> None:
    for text in AMBIGUOUS:
        readings = {repr(pyyaml(text)), repr(read_as_1_2(text))}
        if text not in ("=", "<<", "2026-13-45"):
            readings.add(repr(ruamel(text)))
        assert len(readings) > 1 or text in "yYnN", text


@pytest.mark.parametrize(
    "text",
    [
        "root_password_file: 0123",
        "api: {agent_password: 12:30:45}",
        "ssh: {key_passphrase: yes}",
        "a: {client_secret: {b: 1_000}}",
    ],
)
def test_yaml_ambiguous_secret_is_not_shown(text: str) -> None:
    with pytest.raises(YamlRefused) as caught:
        read_yaml(text + "\n")
    assert not any(value in str(caught.value) for value in ("0123", "12:30", "yes", "1_000"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not YAML in line 1"),
        ("a: 1\na: 2", "the key 'a' occurs twice in line 2, column 1"),
        ("a: {b: 1, b: 2}", "the key 'b' occurs twice"),
        ("? [a, b]\n: 1", "a key is not plain text in line 1"),
        ("{a: " * 3000, "nested too deeply"),
        ("\x00\x01", r"the character \x00 in line 1"),
        ("a: !!python/name:os.system x", "a tag is not supported in line 1"),
        ("a: !!binary 'é'", "a tag is not supported in line 1"),
        ("a: {<<: 3}", "not YAML in line 1"),
        ("a: !!bool abc", "does not match its form or tag in line 1, column 4"),
        ("a: !!timestamp 2026-01-01", "a tag is not supported in line 1"),
        ("b: 1\na: &x [*x]", "an alias refers to what contains it in line 2"),
        ('b: 1\na: "\\U00110000"', "does not match its form or tag in line 2"),
        ('b: 1\na: "\\ud800"', r"the control character \ud800 in line 2"),
        ("b: 1\n\ta: 1", "replace the tabs by spaces"),
        ("a: " + "9" * 5000, "quote it"),
        ("a: 1\n---\nb: 2", "not YAML in line 2"),
    ],
)
def test_yaml_broken_text_is_refused(text: str, named: str) -> None:
    with pytest.raises(YamlRefused) as caught:
        read_yaml(text)
    assert named in str(caught.value)
    assert len(str(caught.value)) < 200


def test_yaml_error_quotes_nothing() -> None:
    for text in ("a: s3cret: x", 'a: "s3cret', "a: s3cret\n b: c", "a: !s3cret x", "a: *s3cret"):
        with pytest.raises(YamlRefused) as caught:
            read_yaml(text)
        assert "s3cret" not in repr(caught.value)
        assert caught.value.__cause__ is None


def test_yaml_merge_and_alias_are_taken() -> None:
    text = "base: &b {x: 1}\none: {<<: *b, z: 2}\nagain: *b\n"
    content = read_yaml(text)
    assert (content["one"], content["again"]) == ({"x": 1, "z": 2}, {"x": 1})


def test_yaml_outline_names_keys_of_two_levels() -> None:
    text = "a: {b: {c: 1}, d: 0123}\ne: [1]\nf:\n"
    assert outline_yaml(text) == {"a": {"b", "d"}, "e": frozenset(), "f": frozenset()}
    assert outline_yaml("- 1") is None
    assert outline_yaml("") is None
