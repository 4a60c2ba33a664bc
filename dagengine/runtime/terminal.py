"""Output of commands: lines and JSON documents, safe to display in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO

from dagengine.text import escape_controls, escape_json_controls


def write_lines(stream: TextIO, lines: Iterable[str]) -> None:
    """Write each text as one line, with control characters escaped, and flush the stream."""
    stream.write("".join(f"{escape_controls(line)}\n" for line in lines))
    stream.flush()


def write_document(stream: TextIO, value: Any, *, indent: int | None = None) -> None:
    """Write the value as a JSON document, with control characters escaped, and flush the stream."""
    document = json.dumps(value, ensure_ascii=False, indent=indent)
    stream.write(f"{escape_json_controls(document)}\n")
    stream.flush()


def write_question(stream: TextIO, question: str) -> None:
    """Write a question, with control characters escaped, whose answer follows in the same line."""
    stream.write(f"{escape_controls(question.rstrip())} ")
    stream.flush()
