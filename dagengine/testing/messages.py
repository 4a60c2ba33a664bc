"""Messages of `dagengine.testing`."""

from __future__ import annotations

from dagengine.errors import Message

COMMAND_TIMED_OUT = Message(
    "testing.command_timed_out", "{command} ran longer than {timeout_s:g} s"
)
COMMIT_REFUSED = Message("testing.commit_refused", "commit {number} was refused by the test")
