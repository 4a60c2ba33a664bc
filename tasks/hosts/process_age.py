"""Since when the server of a home runs, from the response to `process_command`. Pure."""

from __future__ import annotations

from tasks.hosts.identity import parse_process
from tasks.hosts.output import last_value, number_value, parse_lines

_MAX_UPTIME_S = 100 * 365 * 86400.0


def parse_process_age_s(output: str) -> float | None:
    """Parse since when the server of `process_command` runs, in seconds; None if unknown."""
    values = parse_lines(output)
    process, ticks = parse_process(values), number_value(values, "ticks")
    try:
        uptime_s = float(last_value(values, "uptime"))
    except ValueError:
        return None
    if process is None or not ticks or not 0 <= uptime_s < _MAX_UPTIME_S:
        return None
    return max(uptime_s - process.started / ticks, 0.0)
