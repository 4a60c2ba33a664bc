"""Checks of a server: its home, the process in it and its program. Pure."""

from __future__ import annotations

from dagengine.errors import MessageText
from tasks.cluster.parameters import explain_refusal, find_unknown
from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.hosts.fence import FenceVerdict, compare_token, explain_fence
from tasks.hosts.home_state import Contradictory, Empty, HasData
from tasks.hosts.identity import explain_doubt, explain_unanswered
from tasks.preflight import messages
from tasks.preflight.management import find_other_manager
from tasks.preflight.registry import CheckRegistry, Needs, WhenRunning
from tasks.preflight.result import Finding, Severity, SkipPolicy, StartTarget

SERVER_CHECKS = CheckRegistry()
check = SERVER_CHECKS.check

_DEFAULT_PORT = 2881  # of a seekdb that was started without --port


@check(
    "temporary-files",
    examines="the scripts can write a temporary file in /tmp or /dev/shm",
    severity=Severity.BLOCK,
    remedy="free space and inodes in /tmp, or let this login write there",
    skip=SkipPolicy.NO,
    code=Code.CHECK_FAILED,
    needs=Needs.LOGIN,
)
def check_temporary_files(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    return None if facts.has_temporary else Finding(messages.NO_TEMPORARY_FILE())


@check(
    "file-systems",
    examines="the home, its data and the program respond (a dead NFS or FUSE mount does not)",
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
    examines="flock and setsid, with which a start happens once and outlives the login",
    severity=Severity.BLOCK,
    remedy="install util-linux",
    skip=SkipPolicy.NO,
    needs=Needs.ANSWER,
)
def check_tools(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
    return None if facts.has_tools else Finding(messages.TOOL_MISSING())


@check(
    "home",
    examines="the home is a directory",
    severity=Severity.BLOCK,
    remedy="create it with the program in its bin/, or correct `home` in the cluster file",
    skip=SkipPolicy.NO,
    needs=Needs.ANSWER,
)
def check_home(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    home = start_target.server.home
    if facts.home == "directory" or home in facts.unanswered:
        return None
    cause = messages.HOME_NOT_DIRECTORY if facts.home else messages.HOME_MISSING
    return Finding(cause(home=home))


@check(
    "process",
    examines="a server that runs in the home belongs to this login, and no other process may be its"
    " server",
    severity=Severity.BLOCK,
    remedy="log in as the user of the server, become it (`ssh.sudo`), or stop the other process",
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
        messages.OTHER_USER(owner=process.owner, pid=process.pid, home=home),
        messages.LOG_IN_OR_STOP(uid=facts.uid),
    )


@check(
    "fence",
    examines="no other controller or newer task has acted in the home",
    severity=Severity.BLOCK,
    remedy="use the controller that the message names, or `dagengine hosts claim SERVER`",
    skip=SkipPolicy.NO,
    code=Code.CHECK_FAILED,
    when_running=WhenRunning.BLOCKS,
)
def check_fence(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    token, server = start_target.token, start_target.server
    if token is None:
        return None
    verdict = compare_token(facts.fence, token)
    if verdict is FenceVerdict.PASSED:
        return None
    return Finding(*explain_fence(verdict, facts.fence, token, server.home, server.name))


@check(
    "manager",
    examines="neither an OBShell nor a systemd unit manages the home",
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
    remedy="mount or restore the missing files, move the home by hand,"
    " or bootstrap the cluster first",
    skip=SkipPolicy.NO,
    code=Code.NOT_STARTED,
)
def check_first_start(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    match start_target.home_state(facts):
        case Contradictory(cause, remedy):
            return Finding(cause, remedy)
        case Empty() if not start_target.server.flavour.can_initialise:
            cause = messages.NEVER_BOOTSTRAPPED(home=start_target.server.home)
            return Finding(cause, messages.BOOTSTRAP())
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
    cause = messages.PORT_DIFFERS if recorded else messages.DEFAULT_PORT_DIFFERS
    return Finding(cause(port=stored, configured=configured), messages.SET_PORT(port=stored))


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
        messages.OWNER_DIFFERS(directory=_name(path, home), owner=owner, uid=facts.uid),
        messages.CHANGE_OWNER(uid=facts.uid),
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
    return Finding(messages.NOT_WRITABLE(directory=_name(path, home)))


@check(
    "program",
    examines="the server program exists and is executable",
    severity=Severity.BLOCK,
    remedy="install it",
    skip=SkipPolicy.NO,
)
def check_program(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if facts.binary_executable:
        return None
    server = start_target.server
    cause = messages.PROGRAM_NOT_EXECUTABLE if facts.binary_present else messages.PROGRAM_MISSING
    remedy = messages.INSTALL_PROGRAM(flavour=server.flavour.name)
    return Finding(cause(program=server.binary), remedy)


@check(
    "libraries",
    examines="every library that the program needs is installed (ldd)",
    severity=Severity.BLOCK,
    remedy="install them",
)
def check_libraries(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    if not facts.missing:
        return None
    return Finding(
        messages.LIBRARIES_MISSING(libraries=", ".join(facts.missing)),
        messages.INSTALL_LIBRARIES(directory=f"{start_target.server.home}/lib"),
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
    return Finding(messages.BUILD_DIFFERS(servers=", ".join(others)))


@check(
    "start-options",
    examines="the server accepts each value of `start_options`; it would end without a line in its"
    " log (a first start)",
    severity=Severity.BLOCK,
    remedy="correct the value in `start_options`",
)
def check_start_options(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    server, parameters = start_target.server, start_target.server.flavour.parameters
    if isinstance(start_target.home_state(facts), HasData):
        return None  # a later start takes no options
    for option, value in server.start_options.items():
        problem = explain_refusal(option, value, parameters)
        if problem is not None:
            return Finding(problem)
    return None


@check(
    "option-names",
    examines="each key of `start_options` is a parameter of the server, which ignores others (a"
    " first start)",
    severity=Severity.WARN,
    remedy="correct the names in `start_options`, or remove them",
)
def check_option_names(facts: HostFacts, start_target: StartTarget) -> Finding | None:
    server, flavour = start_target.server, start_target.server.flavour
    if not flavour.parameters or isinstance(start_target.home_state(facts), HasData):
        return None
    names = [
        messages.NAME_AND_NEAREST(name=name, nearest=nearest) if nearest else name
        for name, nearest in find_unknown(server.start_options, flavour.parameters).items()
    ]
    if not names:
        return None
    return Finding(messages.OPTIONS_UNKNOWN(flavour=flavour.name, names=", ".join(names)))


def _name(path: str, home: str) -> MessageText:
    return messages.HOME(path=path) if path == home else messages.DIRECTORY(path=path)
