"""Checks of the host's resources: ports, disks, memory, limits and clock. Pure."""

from __future__ import annotations

from tasks.cluster.parameters import parse_size
from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import HasData
from tasks.hosts.identity import explain_connection
from tasks.preflight import messages
from tasks.preflight.registry import CheckRegistry, Needs, WhenRunning
from tasks.preflight.result import Finding, Severity, StartTarget

HOST_CHECKS = CheckRegistry()
check = HOST_CHECKS.check

# Source: obd's checks before a start (oceanbase/obdeploy, plugins/oceanbase/*/start_check.py).
_OPEN_FILES, _PROCESSES, _AIO = 20_000, 4_096, 20_000
_RECOMMENDED_LIMIT, _RECOMMENDED_AIO_LIMIT = 655_350, 1_048_576
_CLOCK_S = 0.2
# Source: seekdb 1.4 here. A new home takes 1.2 GB; on an almost full disk it dies with -4184.
_FRESH_BYTES, _LEAST_BYTES = 1_300_000_000, 256 << 20
_LATER_BYTES = 100 << 20


@check(
    "ports",
    examines="no other program listens on the SQL port and, where it is used, the RPC port, or has"
    " a connection from it",
    severity=Severity.BLOCK,
    remedy="stop the program that uses it, or set another port; reserve it with"
    " net.ipv4.ip_local_reserved_ports",
    code=Code.INVALID_PORT,
)
def check_ports(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    for key, port in start_target.server.ports.items():
        if port in facts.listening:
            listeners = facts.listeners.get(port)
            cause = messages.PORT_TAKEN(port=port)
            if listeners:
                cause = messages.PORT_TAKEN_BY(port=port, listener=str(listeners[0]))
            return Finding(cause, messages.FREE_PORT(key=key))
    return _find_connection(facts, start_target)


def _find_connection(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    """Find a connection that keeps the server from a port.

    An ended one is reported only for a port that the kernel gives to connections: otherwise it is
    one that an earlier server accepted, which does no harm.
    """
    keys = {port: key for key, port in start_target.server.ports.items()}
    low, high = facts.source_ports or (0, -1)
    for connection in facts.connections:
        if connection.port not in keys:
            continue
        if not connection.has_ended or low <= connection.port <= high:
            severity = Severity.WARN if connection.has_ended else None
            return Finding(*explain_connection(connection, keys[connection.port]), severity)
    return None


@check(
    "forwarding",
    examines="sshd permits connections to the SQL port",
    severity=Severity.BLOCK,
    remedy="permit them in sshd_config and authorized_keys",
    code=Code.CHECK_FAILED,
    needs=Needs.LOGIN,
)
def check_forwarding(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    # sshd then forwards to no unix socket either. Verified: OpenSSH 9.2.
    if not facts.forwarding_problem:
        return None
    return Finding(facts.forwarding_problem, facts.forwarding_remedy)


@check(
    "disk",
    examines="free space of home, data and redo directory against the configured sizes",
    severity=Severity.WARN,
    blocks_when="a size of a first start exceeds the free space, or almost none is left",
    remedy="free disk space, or set smaller sizes",
    code=Code.CHECK_FAILED,
)
def check_disk(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    """Check the needs of a first start per file system; a later start needs only some space."""
    server, disks = start_target.server, {disk.path: disk for disk in facts.disks}
    home = disks.get(server.home)
    if home is None:
        return None
    store = disks.get(f"{server.home}/store", home)
    data = disks.get(server.data_dir or "", store)
    redo = disks.get(server.redo_dir or "", data)
    needs: dict[str, int] = {disk.device: 0 for disk in (home, data, redo)}
    is_later = isinstance(start_target.home_state(facts), HasData)
    log = size = 0
    if not is_later:
        log = parse_size(server.start_options.get("log_disk_size", "")) or 0
        size = parse_size(server.start_options.get("datafile_size", "")) or 0
        needs[redo.device] += log
        needs[data.device] += size
        needs[data.device] = max(needs[data.device], _FRESH_BYTES)
    least = _LATER_BYTES if is_later else _LEAST_BYTES
    for disk in (home, data, redo):
        if disk.free_bytes < least:
            return Finding(
                messages.SPACE_LOW(size=disk.free_bytes, path=disk.path),
                messages.FREE_SPACE(),
                Severity.WARN if is_later else Severity.BLOCK,
            )
    for key, needed, disk in (("datafile_size", size, data), ("log_disk_size", log, redo)):
        if needed > disk.free_bytes:
            value, free = server.start_options[key], disk.free_bytes
            cause = messages.SIZE_ABOVE_FREE(
                option=key, value=value, size=needed, path=disk.path, free=free
            )
            return Finding(cause, messages.SET_SMALLER(option=key), Severity.BLOCK)
    for disk in (home, data, redo):
        if disk.free_bytes < needs[disk.device]:
            return Finding(
                messages.SPACE_LOW_FIRST_START(
                    size=disk.free_bytes, path=disk.path, needed=needs[disk.device]
                )
            )
    return None


@check(
    "memory",
    examines="`memory_limit` against the total and the free memory of the host",
    severity=Severity.WARN,
    blocks_when="the host has less memory",
    remedy="set a smaller memory_limit",
    code=Code.CHECK_FAILED,
)
def check_memory(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    text = start_target.server.start_options.get("memory_limit", "")
    limit = parse_size(text) or 0
    if facts.total_bytes is not None and limit > facts.total_bytes:
        cause = messages.MEMORY_LIMIT_ABOVE_TOTAL(limit=text, size=facts.total_bytes)
        return Finding(cause, severity=Severity.BLOCK)
    if facts.available_bytes is not None and limit > facts.available_bytes:
        cause = messages.MEMORY_LIMIT_ABOVE_FREE(limit=text, size=facts.available_bytes)
        return Finding(cause, messages.FREE_MEMORY())
    return None


@check(
    "open-files",
    examines=f"this login may open {_OPEN_FILES} files",
    severity=Severity.WARN,
    remedy="raise `nofile` in limits.conf",
)
def check_open_files(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    count = facts.open_files
    if not count or count >= _OPEN_FILES:
        return None
    return Finding(
        messages.OPEN_FILES_LOW(count=count, needed=_OPEN_FILES, recommended=_RECOMMENDED_LIMIT)
    )


@check(
    "processes",
    examines=f"this login may have {_PROCESSES} processes and threads",
    severity=Severity.WARN,
    remedy="raise `nproc` in limits.conf",
)
def check_processes(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    count = facts.processes
    if not count or count >= _PROCESSES:
        return None
    return Finding(
        messages.PROCESSES_LOW(count=count, needed=_PROCESSES, recommended=_RECOMMENDED_LIMIT)
    )


@check(
    "core-size",
    examines="a crash leaves a core file",
    severity=Severity.WARN,
    remedy="raise `core` in limits.conf",
)
def check_core_size(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if facts.core_bytes != 0:
        return None
    return Finding(messages.CORE_SIZE_ZERO())


@check(
    "aio",
    examines=f"{_AIO} events of asynchronous I/O are left (fs.aio-max-nr)",
    severity=Severity.WARN,
    remedy="raise fs.aio-max-nr",
)
def check_aio(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if facts.aio_max is None or facts.aio_used is None:
        return None
    left = facts.aio_max - facts.aio_used
    if left >= _AIO:
        return None
    return Finding(messages.AIO_LOW(count=left, needed=_AIO, recommended=_RECOMMENDED_AIO_LIMIT))


@check(
    "clock",
    examines=f"the host's clock is within {_CLOCK_S:g} s of the controller's",
    severity=Severity.WARN,
    remedy="synchronise both with NTP",
    needs=Needs.ANSWER,
    when_running=WhenRunning.WARNS,
)
def check_clock(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    off_s = facts.clock_off_s
    if abs(off_s) <= _CLOCK_S:
        return None
    cause = messages.CLOCK_AHEAD if off_s > 0 else messages.CLOCK_BEHIND
    return Finding(cause(difference_s=abs(off_s)))
