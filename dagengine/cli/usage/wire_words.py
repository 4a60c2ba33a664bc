"""Words of the API in the words of the command line, for errors that a controller returns."""

from __future__ import annotations

import re

from dagengine.cli.usage import messages

_ILLEGAL = re.compile(r"The input parameter '(\w+)' is illegal: ")
_OPTIONS = {"skipChecks": "--skip-check", "forcePassDag": "--force-pass"}
_CANCEL_FIRST = "CANCEL a running one first"


def in_command_words(text: str) -> str:
    """Return an error's text with the options and commands of the command line.

    The text itself is part of the API; what is not known here is left as it is.
    """
    match = _ILLEGAL.match(text)
    if match is not None and match[1] in _OPTIONS:
        reason = text[match.end() :]
        text = messages.VALUE_UNUSABLE(parameter=_OPTIONS[match[1]], reason=reason)
    return text.replace(_CANCEL_FIRST, messages.CANCEL_FIRST())
