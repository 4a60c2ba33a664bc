"""Control characters are visible as escapes, in text and in JSON."""

from __future__ import annotations

import json

import pytest

from dagengine.text import escape_controls, escape_json_controls

CONTROLS = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\0": r"\x00",
    "a\tb": r"a\x09b",
    "a\nb": r"a\x0ab",
    "a\r\nb": r"a\x0d\x0ab",
    "\b": r"\x08",
    "\x7f": r"\x7f",
    "\x85": r"\x85",
    "\x9b31m": r"\x9b31m",
    "\x9d0;title\x9c": r"\x9d0;title\x9c",
    "\u061c": r"\u061c",
    "\u200e\u200f": r"\u200e\u200f",
    "\u2028\u2029": r"\u2028\u2029",
    "\u202a\u202e": r"\u202a\u202e",
    "\u2066\u2069": r"\u2066\u2069",
    "\u206a\u206f": r"\u206a\u206f",
    "\ufff9": r"\ufff9",
    "\udc80\ud800": r"\udc80\ud800",
}


@pytest.mark.parametrize(("text", "escaped"), CONTROLS.items(), ids=ascii)
def test_escape_controls_shows_control_characters(text: str, escaped: str) -> None:
    assert escape_controls(f"<{text}>") == f"<{escaped}>"
    assert escaped.isprintable()


@pytest.mark.parametrize("text", ["", "größer", "服务器", "😀", r"C:\x1b", "a\N{NO-BREAK SPACE}b"])
def test_escape_controls_keeps_other_text(text: str) -> None:
    assert escape_controls(text) is text


def test_escape_controls_covers_every_control_character() -> None:
    controls = [*range(0x20), *range(0x7F, 0xA0)]
    assert all(escape_controls(chr(code)) == f"\\x{code:02x}" for code in controls)


@pytest.mark.parametrize("text", CONTROLS, ids=ascii)
def test_escape_json_controls_keeps_the_value(text: str) -> None:
    document = escape_json_controls(json.dumps({text: [text]}, ensure_ascii=False))
    assert document.isprintable()
    assert document.encode()
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert json.loads(document) == {text: [text]}


def test_escape_json_controls_keeps_line_breaks_between_values() -> None:
    document = json.dumps({"a": "ü", "b": "\x9b"}, ensure_ascii=False, indent=2)
    assert escape_json_controls(document) == '{\n  "a": "ü",\n  "b": "\\u009b"\n}'
