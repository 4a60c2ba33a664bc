"""Checks of a server: its home, the process in it and its program. Pure."""

from __future__ import annotations

from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import Contradictory, Empty, HasData
from tasks.hosts.identity import explain_doubt, explain_unanswered
from tasks.preflight.management import find_other_manager
from tasks.preflight.registry import CheckRegistry, Needs, WhenRunning
from tasks.preflight.result import Finding, Severity, SkipPolicy, StartTarget

SERVER_CHECKS = CheckRegistry()
check = SERVER_CHECKS.check

_DEFAULT_PORT = 2881  # of a seekdb that was started without --port


@check(
    "file-systems",
    examines="the home, its data and the program answer (a dead NFS or FUSE mount does not)",
    severity=Severity.BLOCK,
    remedy="unmount or repair the dead mount",
    skip=SkipPolicy.NO,
    code=Code.CHECK_FAILED,
    needs=Needs.LOGIN,
    when_running=WhenRunning.WARNS,
)
def check_file_systems(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    if not facts.unanswered:
        return None
    return Finding(*explain_unanswered(facts.unanswered[0]))


@check(
    "tools",
    examines="flock and setsid, by which a start happens once and outlives the login",
    severity=Severity.BLOCK,
    remedy="install util-linux",
    skip=SkipPolicy.NO,
    needs=Needs.ANSWER,
)
def check_tools(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    return None if facts.has_tools else Finding("flock or setsid is missing on the host")


@check(
    "home",
    examines="the home is a directory",
    severity=Severity.BLOCK,
    remedy="make it, or correct `home` in the cluster file",
    skip=SkipPolicy.NO,
    needs=Needs.ANSWER,
)
def check_home(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    home = start_target.server.home
    if facts.home == "directory" or home in facts.unanswered:
        return None
    return Finding(f"the home {home} {'is not a directory' if facts.home else 'does not exist'}")


@check(
    "process",
    examines="a server that runs in the home is ours, and no other process may be its server",
    severity=Severity.BLOCK,
    remedy="log in as the user whose server it is, become it (`ssh.sudo`),"
    " or stop the other process",
    skip=SkipPolicy.NO,
    code=Code.CHECK_FAILED,
    when_running=WhenRunning.BLOCKS,
)
def check_process(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    process, home = facts.process, start_target.server.home
    if facts.doubts:
        return Finding(*explain_doubt(facts.doubts[0], home))
    if process is None or process.owner == facts.uid:
        return None
    return Finding(
        f"a server of another user (uid {process.owner}, pid {process.pid}) runs in {home}",
        "log in as that user, or become it (ssh.sudo), or stop the server; "
        f"this login has uid {facts.uid}",
    )


@check(
    "manager",
    examines="no OBShell and no systemd unit looks after the home",
    severity=Severity.BLOCK,
    remedy="leave it to them, or stop and disable them first",
    skip=SkipPolicy.NO,
    code=Code.CHECK_FAILED,
    when_running=WhenRunning.WARNS,
)
def check_manager(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    return find_other_manager(facts)


@check(
    "first-start",
    examines="the home is empty, holds only a failed first start, or holds a complete database;"
    " oceanbase: it was bootstrapped before",
    severity=Severity.BLOCK,
    remedy="mount or restore what is missing, move the home by hand,"
    " or bootstrap the cluster first",
    skip=SkipPolicy.NO,
    code=Code.NOT_STARTED,
)
def check_first_start(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    match start_target.home_state(facts):
        case Contradictory(cause, remedy):
            return Finding(cause, remedy)
        case Empty() if not start_target.server.flavour.can_initialise:
            home = start_target.server.home
            return Finding(
                f"{home} was never bootstrapped: it has no etc/observer.config.bin",
                "bootstrap the cluster first, with obd for example, or correct `home` in the"
                " cluster file",
            )
    return None


@check(
    "stored-port",
    examines="the SQL port that the server has recorded is that of the cluster file",
    severity=Severity.BLOCK,
    remedy="correct `sql_port`",
    skip=SkipPolicy.NO,
    code=Code.INVALID_PORT,
)
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
        f"the server {has}, the cluster file names {configured}",
        f"set `sql_port: {stored}` in the cluster file",
    )


@check(
    "owner",
    examines="home, etc/, log/, run/, store/, data and redo directory belong to this login",
    severity=Severity.BLOCK,
    remedy="log in as their owner, or become that user (`ssh.sudo`)",
    skip=SkipPolicy.NOT_BY_ROOT,
)
def check_owner(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    home = start_target.server.home
    foreign = list(facts.foreign)
    if facts.home_owner != facts.uid:
        foreign.insert(0, (-1 if facts.home_owner is None else facts.home_owner, home))
    if not foreign:
        return None
    owner, path = foreign[0]
    return Finding(
        f"{_name(path, home)} belongs to uid {owner}, this login has {facts.uid}",
        "log in as its owner, or become that user (ssh.sudo),"
        f" or change its owner to uid {facts.uid}",
    )


@check(
    "writable",
    examines="the same directories can be written to",
    severity=Severity.BLOCK,
    remedy="correct the permissions or the mount",
)
def check_writable(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if facts.home_writable and not facts.unwritable:
        return None
    home = start_target.server.home
    path = home if not facts.home_writable else facts.unwritable[0]
    return Finding(f"{_name(path, home)} is not writable: its permissions or a read-only mount")


@check(
    "program",
    examines="the server program is there and executable",
    severity=Severity.BLOCK,
    remedy="install it",
    skip=SkipPolicy.NO,
)
def check_program(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if facts.binary_executable:
        return None
    server = start_target.server
    problem = "is not executable" if facts.binary_present else "does not exist"
    return Finding(f"the program {server.binary} {problem}", f"install {server.flavour.name} there")


@check(
    "libraries",
    examines="every library that the program names is there (ldd)",
    severity=Severity.BLOCK,
    remedy="install them",
)
def check_libraries(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if not facts.missing:
        return None
    return Finding(
        f"libraries of the program are missing: {', '.join(facts.missing)}",
        f"install them, or put them into {start_target.server.home}/lib",
    )


@check(
    "version",
    examines="the program is the same build as on the other servers of this start",
    severity=Severity.WARN,
    remedy="compare the versions",
)
def check_version(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    size = facts.program_bytes
    others = [name for name, other in sorted(start_target.other_programs.items()) if other != size]
    if size is None or not others:
        return None
    return Finding(
        f"the program is another build than that of {', '.join(others)},"
        " which is expected during an upgrade only"
    )


def _name(path: str, home: str) -> str:
    return f"the {'home' if path == home else 'directory'} {path}"
