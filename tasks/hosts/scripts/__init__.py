"""Scripts that run on hosts: POSIX shell in `.sh` files next to this module.

A line `. ./part.sh` is replaced by the text of that file, so shellcheck follows it and a host
receives one self-contained script, without comments.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_COMMENT = re.compile(r"^ *#.*\n", re.MULTILINE)
_INCLUDE = re.compile(r"^\. \./(\w+)\.sh\n", re.MULTILINE)


@cache
def read_script(name: str) -> str:
    """Return the text of `<name>.sh` with its included parts inserted."""
    text = resources.files(__name__).joinpath(f"{name}.sh").read_text(encoding="utf-8")
    text = _COMMENT.sub("", text)
    return _INCLUDE.sub(lambda match: read_script(match[1]), text)
