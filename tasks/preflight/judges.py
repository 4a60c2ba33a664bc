"""Decisions of the checks of a host: each returns a finding, or None if nothing is wrong.

Pure. checks.py lists the checks and which of them may be skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.cluster.sizes import parse_size
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import Contradictory, Empty, HasData
from tasks.hosts.identity import explain_doubt
from tasks.preflight.result import Finding, Severity, StartTarget

# Units of logins: processes started from a login are in these, which do not manage them.
_LOGIN_UNIT = re.compile(r"(ssh|sshd|ssh@.*|sshd@.*|cron|crond|dropbear.*|user@[0-9]+)\.service")

# Source: obd's checks before a start (oceanbase/obdeploy, plugins/oceanbase/*/start_check.py).
OPEN_FILES, PROCESSES, AIO = 20_000, 4_096, 20_000
CLOCK_S = 0.2
# Source: seekdb 1.4 here. A new home takes 1.2 GB; on an almost full disk it dies with -4184.
_FRESH_BYTES, _LEAST_BYTES = 1_300_000_000, 256 << 20
_LATER_BYTES = 100 << 20
_DEFAULT_PORT = 2881  # of a seekdb that was started without --port


def check_manager(facts: HostFacts, _start_target: StartTarget | None = None) -> Finding | None:
    """Find another manager of the server; a start, a stop and a rollback then leave it alone."""
    code = "OB.Server.Process.CheckFailed"
    if facts.obshell is not None:
        return Finding(
            Severity.BLOCK,
            f"an OBShell (pid {facts.obshell}) looks after this home",
            "use that one, or stop it there first: `obshell agent stop`",
            code,
        )
    unit = _find_unit(facts.groups, facts.own_groups)
    if unit is not None:
        return Finding(
            Severity.BLOCK,
            f"the server runs in the systemd unit {unit}",
            f"use `systemctl` with {unit}, or disable it and start the server from here",
            code,
        )
    if facts.units:
        return Finding(
            Severity.BLOCK,
            f"the systemd unit {facts.units[0]} starts this home when the host boots",
            f"use `systemctl start {facts.units[0]}`, or disable it first",
            code,
        )
    return None


def check_tools(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if facts.has_tools:
        return None
    return Finding(
        Severity.BLOCK, "flock or setsid is missing on the host", "install util-linux there"
    )


def check_home(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    home = start_target.server.home
    if facts.home != "directory" and home not in facts.unanswered:
        what = "is no directory" if facts.home else "does not exist"
        remedy = "make it, or correct `home` in the cluster file"
        return Finding(Severity.BLOCK, f"the home {home} {what}", remedy)
    return None


def check_owner(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    foreign = list(facts.foreign)
    if facts.home_owner != facts.uid:
        foreign.insert(
            0, (-1 if facts.home_owner is None else facts.home_owner, start_target.server.home)
        )
    if not foreign:
        return None
    whose, path = foreign[0]
    what = "the home" if path == start_target.server.home else "the directory"
    return Finding(
        Severity.BLOCK,
        f"{what} {path} belongs to uid {whose}, this login has {facts.uid}",
        "log in as its owner, or become that user (ssh.sudo), or give it to this one",
    )


def check_writable(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if facts.home_writable and not facts.unwritable:
        return None
    path = start_target.server.home if not facts.home_writable else facts.unwritable[0]
    what = "the home" if path == start_target.server.home else "the directory"
    remedy = "mend its permissions; is its file system mounted read-only?"
    return Finding(Severity.BLOCK, f"{what} {path} is not writable", remedy)


def check_program(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if facts.binary_executable:
        return None
    what = "is not executable" if facts.binary_present else "does not exist"
    remedy = f"install {start_target.server.flavour.name} there"
    return Finding(Severity.BLOCK, f"the program {start_target.server.binary} {what}", remedy)


def check_libraries(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if not facts.missing:
        return None
    cause = f"the program needs libraries that are not there: {', '.join(facts.missing)}"
    return Finding(
        Severity.BLOCK, cause, f"install them, or put them into {start_target.server.home}/lib"
    )


def check_version(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    size = facts.program_bytes
    others = [name for name, other in sorted(start_target.other_programs.items()) if other != size]
    if size is None or not others:
        return None
    cause = f"the program is another build than that of {', '.join(others)}"
    return Finding(Severity.WARN, cause, "compare the versions; only an upgrade should differ")


def check_first_start(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    code = "OB.Server.HasNotBeenStarted"
    match start_target.home_state(facts):
        case Contradictory(cause, remedy):
            return Finding(Severity.BLOCK, cause, remedy, code)
        case Empty() if not start_target.server.flavour.can_initialise:
            home = start_target.server.home
            cause = f"{home} was never bootstrapped: it has no etc/observer.config.bin"
            remedy = "bootstrap the cluster first, with obd for example, or correct `home`"
            return Finding(Severity.BLOCK, cause, f"{remedy} in the cluster file", code)
    return None


def check_stored_port(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    """Compare the ports: a later start keeps the first one's, regardless of the cluster file."""
    state = start_target.home_state(facts)
    if not isinstance(state, HasData) or state.parameters is None:
        return None
    recorded, configured = state.parameters.sql_port, start_target.server.sql_port
    stored = recorded or _DEFAULT_PORT
    if stored == configured:
        return None
    has = (
        f"has recorded SQL port {stored}"
        if recorded
        else f"has recorded no SQL port and would use {stored}"
    )
    return Finding(
        Severity.BLOCK,
        f"the server {has}, the cluster file names {configured}",
        f"set `sql_port: {stored}` in the cluster file",
        "Common.InvalidPort",
    )


def check_file_systems(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if not facts.unanswered:
        return None
    return Finding(
        Severity.BLOCK,
        f"the file system of {facts.unanswered[0]} does not answer",
        "look for a dead NFS or FUSE mount on the host, and unmount or repair it",
        "OB.Server.Process.CheckFailed",
    )


def check_process(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    process, home = facts.process, start_target.server.home
    code = "OB.Server.Process.CheckFailed"
    if facts.doubts:
        cause, remedy = explain_doubt(facts.doubts[0], home)
        return Finding(Severity.BLOCK, cause, remedy, code)
    if process is None or process.owner == facts.uid:
        return None
    return Finding(
        Severity.BLOCK,
        f"a server of another user (uid {process.owner}, pid {process.pid}) runs in {home}",
        "log in as that user, or become it (ssh.sudo), or stop the server; "
        f"this login has uid {facts.uid}",
        "OB.Server.Process.CheckFailed",
    )


def check_ports(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    for key, port in start_target.server.ports.items():
        if port in facts.listening:
            who = facts.listeners.get(port)
            by = f"another program ({who[0]})" if who else "another program"
            remedy = f"stop what listens there, or set another {key}"
            return Finding(
                Severity.BLOCK, f"port {port} is taken by {by}", remedy, "Common.InvalidPort"
            )
    return None


def check_disk(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    """Check the needs of a first start per file system; a later start needs only some space."""
    server, places = start_target.server, {disk.path: disk for disk in facts.disks}
    home = places.get(server.home)
    if home is None:
        return None
    store = places.get(f"{server.home}/store", home)
    data = places.get(server.data_dir or "", store)
    redo = places.get(server.redo_dir or "", data)
    needs: dict[str, int] = {disk.device: 0 for disk in (home, data, redo)}
    is_later = isinstance(start_target.home_state(facts), HasData)
    if not is_later:
        log = parse_size(server.start_options.get("log_disk_size", "")) or 0
        size = parse_size(server.start_options.get("datafile_size", "")) or 0
        needs[redo.device] += log
        needs[data.device] += size
        needs[data.device] = max(needs[data.device], _FRESH_BYTES)
    least = _LATER_BYTES if is_later else _LEAST_BYTES
    for disk in (home, data, redo):
        if disk.free_bytes < least:
            level = Severity.WARN if is_later else Severity.BLOCK
            cause = f"only {disk.free_bytes:,} bytes are free for {disk.path}"
            return Finding(level, cause, "free disk space there", "OB.Server.Process.CheckFailed")
    for disk in (home, data, redo):
        if disk.free_bytes < needs[disk.device]:
            cause = (
                f"only {disk.free_bytes:,} bytes are free for {disk.path};"
                f" a first start with these sizes may take {needs[disk.device]:,}"
            )
            return Finding(Severity.WARN, cause, "free disk space there, or set smaller sizes")
    return None


def check_memory(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    text = start_target.server.start_options.get("memory_limit", "")
    limit = parse_size(text) or 0
    if facts.total_bytes is not None and limit > facts.total_bytes:
        cause = f"memory_limit {text} is more than the host has ({facts.total_bytes:,} bytes)"
        remedy = "set a smaller memory_limit"
        return Finding(Severity.BLOCK, cause, remedy, "OB.Server.Process.CheckFailed")
    if facts.available_bytes is not None and limit > facts.available_bytes:
        cause = f"memory_limit {text} is more than is free ({facts.available_bytes:,} bytes)"
        return Finding(Severity.WARN, cause, "free memory there, or set a smaller memory_limit")
    return None


def check_open_files(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    count = facts.open_files
    if not count or count >= OPEN_FILES:
        return None
    cause = f"this login may have {count} files open, a server needs {OPEN_FILES}"
    return Finding(Severity.WARN, cause, "raise `nofile` in /etc/security/limits.conf to 655350")


def check_processes(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    count = facts.processes
    if not count or count >= PROCESSES:
        return None
    cause = f"this login may have {count} processes and threads, a server needs {PROCESSES}"
    return Finding(Severity.WARN, cause, "raise `nproc` in /etc/security/limits.conf to 655350")


def check_core_size(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if facts.core_bytes != 0:
        return None
    cause = "a server that crashes would leave no core file: the limit is 0"
    return Finding(Severity.WARN, cause, "set `core` in /etc/security/limits.conf to unlimited")


def check_aio(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if facts.aio_max is None or facts.aio_used is None:
        return None
    left = facts.aio_max - facts.aio_used
    if left >= AIO:
        return None
    cause = f"{left} events of asynchronous I/O are left on the host, a server needs {AIO}"
    return Finding(Severity.WARN, cause, "sysctl -w fs.aio-max-nr=1048576, and in /etc/sysctl.conf")


def check_clock(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    off = facts.clock_off_s
    if abs(off) <= CLOCK_S:
        return None
    way = "ahead of" if off > 0 else "behind"
    cause = f"the host's clock is at least {abs(off):.1f} s {way} the controller's"
    return Finding(Severity.WARN, cause, "let NTP (chrony) set both clocks")


def _find_unit(groups: Iterable[str], own_groups: Iterable[str]) -> str | None:
    """Return the service whose control group the server is in, except services of logins."""
    own = {unit for line in own_groups for unit in _units(line)}
    for line in groups:
        for unit in reversed(_units(line)):
            if unit not in own and not _LOGIN_UNIT.fullmatch(unit):
                return unit
    return None


def _units(line: str) -> list[str]:
    """Return the services in a line of /proc/PID/cgroup: `number:controllers:path`."""
    path = line.split(":", 2)[-1]
    return [part for part in path.split("/") if part.endswith(".service")]
