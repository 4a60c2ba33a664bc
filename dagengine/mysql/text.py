"""Text in both directions: display of text from a peer, and literals for statements."""

from __future__ import annotations

from dagengine.mysql import messages
from dagengine.mysql.errors import MysqlRequestRefused
from dagengine.text import escape_controls

_MAX_TEXT = 500


def show_text(raw: bytes, limit: int = _MAX_TEXT) -> str:
    """Decode text from a peer into one line that is safe to display in a terminal and a log.

    Invalid UTF-8 is replaced, control characters are escaped, and text longer than `limit`
    characters is truncated.
    """
    text = raw[: 4 * limit].decode("utf-8", "replace")
    cut = len(raw) > 4 * limit or len(text) > limit
    escaped = escape_controls(text[:limit])
    return f"{escaped}…" if cut else escaped


def encode_text(text: str, subject: str) -> bytes:
    """Encode text as UTF-8.

    Raises:
        MysqlRequestRefused: the text has lone surrogates; the message contains `what` instead of
            the text.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # Suppress the cause because it quotes the text, which may be a password.
        raise MysqlRequestRefused(messages.NOT_UNICODE(subject=subject)) from None


def quote_text(text: str) -> str:
    """Return a string literal that the text cannot terminate early in any sql_mode.

    If sql_mode contains NO_BACKSLASH_ESCAPES, the server reads each backslash of the text as two;
    use `hex_literal` where the statement accepts a hexadecimal literal.
    """
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0")
    return f"'{escaped}'"


def hex_literal(value: str | bytes) -> str:
    """Return a hexadecimal literal, which has the same meaning in every sql_mode and binary type.

    The literal for an empty value is `''`, because seekdb 1.4 reads `x''` as text of three
    characters.

    Raises:
        MysqlRequestRefused: the text is not Unicode.
    """
    raw = encode_text(value, messages.TEXT()) if isinstance(value, str) else value
    return f"x'{raw.hex()}'" if raw else "''"
