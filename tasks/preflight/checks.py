"""The checks of stage 2: from the facts about a host to results. Pure.

docs/checks.md is generated from `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tasks.hosts.facts import HostFacts
from tasks.preflight import judges
from tasks.preflight.result import Check, CheckResult, Severity, SkipPolicy, StartTarget


def run_checks(
    facts: HostFacts, start_target: StartTarget, skip: Collection[str] = ()
) -> list[CheckResult]:
    """Return the results of all applicable checks, in the order of `CHECKS`.

    Args:
        facts: about the host; complete.
        start_target: the server to be started.
        skip: names of checks whose block is to be skipped.
    """
    check_results = []
    does_home_answer = start_target.server.home not in facts.unanswered
    for check in CHECKS if does_home_answer else CHECKS[:1]:
        if check.needs_home and facts.home != "directory":
            continue
        if facts.process is not None and not check.when_running:
            continue
        check_results.append(_run_check(check, facts, start_target, skip))
    return check_results


def find_skip_problem(names: Iterable[str]) -> str | None:
    """Return why these checks cannot be skipped; None if they can."""
    known = {check.name: check for check in CHECKS}
    for name in names:
        if name not in known:
            return f"there is no check '{name}'; known: {', '.join(known)}"
        if known[name].skip is SkipPolicy.NO:
            may = ", ".join(check.name for check in CHECKS if check.skip is not SkipPolicy.NO)
            return f"the check '{name}' cannot be skipped; those that can: {may}"
    return None


def _run_check(
    check: Check, facts: HostFacts, start_target: StartTarget, skip: Collection[str]
) -> CheckResult:
    finding = check.decide(facts, start_target)
    if finding is None:
        return CheckResult(check.name, Severity.OK)
    level, remedy = finding.level, finding.remedy
    if level is Severity.BLOCK and facts.process is not None and check.name != "process":
        level = Severity.WARN
    if check.name in skip:
        if check.skip is SkipPolicy.YES or (
            check.skip is SkipPolicy.NOT_BY_ROOT and facts.uid != 0
        ):
            level = Severity.SKIPPED
        elif check.skip is SkipPolicy.NOT_BY_ROOT:
            remedy = f"{remedy}; root cannot skip this check"
    return CheckResult(check.name, level, finding.cause, remedy, finding.code)


CHECKS: tuple[Check, ...] = (
    Check(
        "file-systems",
        "the home, its data and the program answer (a dead NFS or FUSE mount does not)",
        "block",
        SkipPolicy.NO,
        "unmount or repair the dead mount",
        judges.check_file_systems,
        needs_home=False,
        when_running=True,
    ),
    Check(
        "tools",
        "flock and setsid, by which a start happens once and outlives the login",
        "block",
        SkipPolicy.NO,
        "install util-linux",
        judges.check_tools,
        needs_home=False,
    ),
    Check(
        "home",
        "the home is a directory",
        "block",
        SkipPolicy.NO,
        "make it, or correct `home` in the cluster file",
        judges.check_home,
        needs_home=False,
    ),
    Check(
        "process",
        "a server that runs in the home is ours, and no other process may be its server",
        "block",
        SkipPolicy.NO,
        "log in as the user whose server it is, become it (`ssh.sudo`), or stop the other process",
        judges.check_process,
        when_running=True,
    ),
    Check(
        "manager",
        "no OBShell and no systemd unit looks after the home",
        "block",
        SkipPolicy.NO,
        "leave it to them, or stop and disable them first",
        judges.check_manager,
        when_running=True,
    ),
    Check(
        "first-start",
        "the home is empty, holds only a failed first start, or holds a complete database;"
        " oceanbase: it was bootstrapped before",
        "block",
        SkipPolicy.NO,
        "mount or restore what is missing, move the home by hand, or bootstrap the cluster first",
        judges.check_first_start,
    ),
    Check(
        "stored-port",
        "the SQL port that the server has recorded is that of the cluster file",
        "block",
        SkipPolicy.NO,
        "correct `sql_port`",
        judges.check_stored_port,
    ),
    Check(
        "owner",
        "home, etc/, log/, run/, store/, data and redo directory belong to this login",
        "block",
        SkipPolicy.NOT_BY_ROOT,
        "log in as their owner, or become that user (`ssh.sudo`)",
        judges.check_owner,
    ),
    Check(
        "writable",
        "the same directories can be written to",
        "block",
        SkipPolicy.YES,
        "correct the permissions or the mount",
        judges.check_writable,
    ),
    Check(
        "program",
        "the server program is there and executable",
        "block",
        SkipPolicy.NO,
        "install it",
        judges.check_program,
    ),
    Check(
        "libraries",
        "every library that the program names is there (ldd)",
        "block",
        SkipPolicy.YES,
        "install them",
        judges.check_libraries,
    ),
    Check(
        "version",
        "the program is the same build as on the other servers of this start",
        "warn",
        SkipPolicy.YES,
        "compare the versions",
        judges.check_version,
    ),
    Check(
        "ports",
        "no other program listens on the SQL port and, where it is used, the RPC port",
        "block",
        SkipPolicy.YES,
        "stop what listens there, or set another port",
        judges.check_ports,
    ),
    Check(
        "disk",
        "free space of home, data and redo directory against the configured sizes",
        "warn, or block when next to nothing is left for a first start",
        SkipPolicy.YES,
        "free disk space, or set smaller sizes",
        judges.check_disk,
    ),
    Check(
        "memory",
        "`memory_limit` against what the host has and what is free",
        "warn, or block when the host has less",
        SkipPolicy.YES,
        "set a smaller memory_limit",
        judges.check_memory,
    ),
    Check(
        "open-files",
        f"this login may open {judges.OPEN_FILES} files",
        "warn",
        SkipPolicy.YES,
        "raise `nofile` in limits.conf",
        judges.check_open_files,
    ),
    Check(
        "processes",
        f"this login may have {judges.PROCESSES} processes and threads",
        "warn",
        SkipPolicy.YES,
        "raise `nproc` in limits.conf",
        judges.check_processes,
    ),
    Check(
        "core-size",
        "a crash leaves a core file",
        "warn",
        SkipPolicy.YES,
        "raise `core` in limits.conf",
        judges.check_core_size,
    ),
    Check(
        "aio",
        f"{judges.AIO} events of asynchronous I/O are left (fs.aio-max-nr)",
        "warn",
        SkipPolicy.YES,
        "raise fs.aio-max-nr",
        judges.check_aio,
    ),
    Check(
        "clock",
        f"the host's clock is within {judges.CLOCK_S:g} s of the controller's",
        "warn",
        SkipPolicy.YES,
        "let NTP set both",
        judges.check_clock,
        needs_home=False,
        when_running=True,
    ),
)
