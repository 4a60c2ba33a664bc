"""The operating system's user of this process."""

from __future__ import annotations

import getpass
import os


def find_user_name() -> str:
    """Return the name of this process's user.

    A user id without an entry in the user database, as in some containers, is returned as text.
    """
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # ImportError: a system without the module pwd
        return str(os.getuid()) if hasattr(os, "getuid") else ""
