"""Text in both directions: a peer's text for people, and literals for statements."""

from __future__ import annotations

import re

from dagengine.mysql.errors import MysqlRequestRefused

_MAX_TEXT = 500

# C0, DEL and C1 controls, line and paragraph separators, and what changes the direction of text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def show_text(raw: bytes, limit: int = _MAX_TEXT) -> str:
    """Decode a peer's text to one line that a terminal and a log can show.

    Invalid UTF-8 is replaced, control characters are written as escapes, and text longer than
    `limit` characters is cut.
    """
    text = raw[: 4 * limit].decode("utf-8", "replace")
    cut = len(raw) > 4 * limit or len(text) > limit
    shown = _CONTROLS.sub(_escape, text[:limit])
    return f"{shown}…" if cut else shown


def _escape(control: re.Match[str]) -> str:
    code = ord(control[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def encode_text(text: str, what: str) -> bytes:
    """UTF-8.

    Raises:
        MysqlRequestRefused: the text has lone surrogates; the message names `what`, not the text.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # Without the cause: it quotes the text, which may be a password.
        raise MysqlRequestRefused(f"{what} is not valid Unicode text") from None


def quote_text(text: str) -> str:
    """A string literal that the text cannot end, whatever the server's sql_mode is.

    Where sql_mode has NO_BACKSLASH_ESCAPES the server reads each backslash of the text as two; use
    `hex_literal` where the statement takes one.
    """
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0")
    return f"'{escaped}'"


def hex_literal(value: str | bytes) -> str:
    """A literal of hexadecimal digits, the same in every sql_mode; its type is binary.

    An empty value is `''`: seekdb 1.4 reads `x''` as text of three characters.

    Raises:
        MysqlRequestRefused: the text is not Unicode.
    """
    raw = encode_text(value, "the text") if isinstance(value, str) else value
    return f"x'{raw.hex()}'" if raw else "''"
