"""The scripts that run on hosts: POSIX shell in `.sh` files beside this module.

A line `. ./part.sh` stands for the text of that file, so shellcheck follows it and a host receives
one self-contained script, without its comments.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_COMMENT = re.compile(r"^ *#.*\n", re.MULTILINE)
_INCLUDE = re.compile(r"^\. \./(\w+)\.sh\n", re.MULTILINE)


@cache
def read_script(name: str) -> str:
    """Return the text of `<name>.sh` with its included parts in place."""
    text = resources.files(__name__).joinpath(f"{name}.sh").read_text(encoding="utf-8")
    text = _COMMENT.sub("", text)
    return _INCLUDE.sub(lambda match: read_script(match[1]), text)
