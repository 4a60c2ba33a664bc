"""Detection of another manager of a server: OBShell or a systemd unit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.hosts.facts import HostFacts
from tasks.preflight import messages
from tasks.preflight.result import Finding

# Units of logins: processes started from a login are in these, which do not manage them.
_LOGIN_UNIT = re.compile(r"(ssh|sshd|ssh@.*|sshd@.*|cron|crond|dropbear.*|user@[0-9]+)\.service")


def find_other_manager(facts: HostFacts) -> Finding | None:
    """Find another manager of the server; a start, a stop and a rollback then leave it alone."""
    if facts.obshell is not None:
        return Finding(messages.OBSHELL_MANAGES(pid=facts.obshell), messages.USE_OBSHELL())
    unit = _find_unit(facts.groups, facts.own_groups)
    if unit is not None:
        return Finding(messages.RUNS_IN_UNIT(unit=unit), messages.USE_UNIT(unit=unit))
    if facts.units:
        unit = facts.units[0]
        return Finding(messages.UNIT_STARTS_HOME(unit=unit), messages.START_UNIT(unit=unit))
    return None


def _find_unit(groups: Iterable[str], own_groups: Iterable[str]) -> str | None:
    """Return the service whose control group the server is in, except services of logins."""
    own_units = {unit for line in own_groups for unit in _units(line)}
    for line in groups:
        for unit in reversed(_units(line)):
            if unit not in own_units and not _LOGIN_UNIT.fullmatch(unit):
                return unit
    return None


def _units(line: str) -> list[str]:
    """Return the services in a line of /proc/PID/cgroup: `number:controllers:path`."""
    path = line.split(":", 2)[-1]
    return [part for part in path.split("/") if part.endswith(".service")]
