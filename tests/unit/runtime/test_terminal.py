"""Lines and documents of commands have no control characters."""

from __future__ import annotations

import io
import json

from dagengine.runtime.terminal import write_document, write_lines


def test_write_lines_text_stays_one_line() -> None:
    stream = io.StringIO()
    write_lines(stream, ["a\x1b[2J\nFORGED", "b\x9b\udcff"])
    assert stream.getvalue() == "a\\x1b[2J\\x0aFORGED\nb\\x9b\\udcff\n"


def test_write_document_escapes_controls_and_keeps_values() -> None:
    stream, value = io.StringIO(), {"a": ["\x1b\n\x7f\x9b\u202e", "größer"]}
    write_document(stream, value, indent=2)
    assert all(line.isprintable() for line in stream.getvalue().splitlines())
    assert json.loads(stream.getvalue()) == value
    assert "größer" in stream.getvalue()
