"""Names of the operations, as used on the wire."""

from __future__ import annotations

START_OB = "Start OB"
STOP_OB = "Stop OB"
