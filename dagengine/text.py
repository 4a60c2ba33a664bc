"""Text from hosts and peers, made safe to display in a terminal and in a log.

`escape_controls` is the only function that decides which characters are shown as escapes. All
texts for users pass through it: messages, errors, stored log lines and the output of commands.
"""

from __future__ import annotations

import re

# C0, DEL and C1 controls, line and paragraph separators, bidirectional and other invisible
# formatting characters, and lone surrogates, which cannot be encoded.
PASSWORD_IN_URL = re.compile(r"(://[^/@:]*):[^/]*@")
"""The password of a URL, with the user before it as the first group."""

_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]"
)


def escape_controls(text: str) -> str:
    r"""Return the text in one line, with every control character as in `\x1b` or `\u202e`."""
    return _CONTROLS.sub(_escape, text) if _CONTROLS.search(text) else text


def escape_json_controls(document: str) -> str:
    """Return a JSON document whose strings have escapes instead of control characters.

    The values do not change, except that a lone surrogate becomes U+FFFD. Line breaks between
    values are kept.
    """
    if document.isascii() and "\x7f" not in document:
        return document
    return _CONTROLS.sub(_escape_in_json, document)


def _escape(control: re.Match[str]) -> str:
    code = ord(control[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _escape_in_json(control: re.Match[str]) -> str:
    if control[0] < " ":  # outside of strings: a JSON string has no raw C0 control
        return control[0]
    if "\ud800" <= control[0] <= "\udfff":
        return "\\ufffd"
    return f"\\u{ord(control[0]):04x}"
