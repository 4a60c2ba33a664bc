"""Ctrl-C at any instant: exit code 130 without a traceback.

While modules load and while the interpreter shuts down, nothing has to be cleaned up, and a
KeyboardInterrupt could surface anywhere, so the process ends at once. In between, commands receive
KeyboardInterrupt as usual. This module imports as little as possible.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""The value of `ExitCode.INTERRUPTED`, which is not loaded yet."""


def exit_on_interrupt() -> None:
    """End the process at the next SIGINT, unless the process ignores or handles that signal."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit)


def raise_on_interrupt() -> None:
    """Raise KeyboardInterrupt at the next SIGINT; revert `exit_on_interrupt`."""
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
