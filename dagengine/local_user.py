"""The operating system's user of this process: name and home directory."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from dagengine import messages
from dagengine.errors import ConfigError


def find_user_name() -> str:
    """Return the name of this process's user.

    A user id without an entry in the user database, as in some containers, is returned as text.
    """
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # ImportError: a system without the module pwd
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def expand_home(path: Path) -> Path:
    """Return the path with `~` or `~USER` at its beginning replaced by a home directory.

    Raises:
        ConfigError: the home directory is unknown.
    """
    try:
        return path.expanduser()
    except RuntimeError as exc:
        raise ConfigError(messages.HOME_UNKNOWN(path=path), remedy=messages.SET_HOME()) from exc
