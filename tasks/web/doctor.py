"""The page of the doctor: checks of the set-up, host by host, with commands to copy."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.extension import (
    Badge,
    Instant,
    PageCall,
    Redirect,
    SelfCheckResult,
    SelfCheckStatus,
    Texts,
    View,
    make_instant,
)
from dagengine.remote import HostAddress
from tasks.cluster.access import ClusterAccess
from tasks.cluster.servers import Server
from tasks.doctor.background import BackgroundDoctor, Examination
from tasks.doctor.examine import Report, examine_cluster
from tasks.operations.lock_stage import LOCK_KEY
from tasks.web import messages

TEMPLATE = "tasks.web/doctor.html"
_STATUSES = {
    SelfCheckStatus.OK: ("good", "✓", messages.PASSED),
    SelfCheckStatus.WARN: ("waiting", "⚠", messages.LEVEL_WARN),
    SelfCheckStatus.BAD: ("bad", "✗", messages.BAD),
}


@dataclass(frozen=True, slots=True)
class Remedy:
    """A part of a remedy; a command has an id for the button that copies it."""

    text: str
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One result."""

    badge: Badge
    check: str
    message: str
    remedy: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class HostGroup:
    """The results about one host or file.

    Attributes:
        name: name of the server, or path of the file.
        badge: the worst result.
        findings: the results that need attention.
        passed: how many checks passed.
        commands: commands to copy, with their ids.
    """

    name: str
    badge: Badge
    findings: tuple[FindingRow, ...]
    passed: str
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DoctorModel:
    """The view model of the page.

    Attributes:
        sentence: the result in one sentence.
        kind: class of the sentence.
        when: when the examination began; at most one.
        button: text of the button.
        refusal: why the button is disabled; empty if it is not.
        is_running: an examination runs.
        groups: the results, the worst first.
    """

    sentence: str
    kind: str
    when: tuple[Instant, ...]
    button: str
    refusal: str
    is_running: bool
    groups: tuple[HostGroup, ...]


@dataclass(frozen=True, slots=True)
class DoctorPages:
    """The page of the doctor, and its action."""

    access: ClusterAccess
    doctor: BackgroundDoctor

    async def show(self, call: PageCall) -> View:
        """Show the last examination; contacts no host."""
        servers = {server.name: server for server in self.access.cluster.servers}
        model = view_doctor(
            self.doctor.last, servers, call.now, call.texts, has_session=call.has_session
        )
        return View(TEMPLATE, model, is_active=model.is_running)

    async def run(self, call: PageCall) -> Redirect:
        """Begin an examination. It takes no lock and changes nothing."""
        token = call.engine.next_fencing_token(LOCK_KEY)
        access = self.access

        def examine(report: Report) -> Awaitable[Sequence[SelfCheckResult]]:
            return examine_cluster(access.cluster, access.pool, access.clock, token, report)

        self.doctor.begin(examine)
        return Redirect("/doctor")


# --- the view model: pure ------------------------------------------------------------------------


def view_doctor(
    examination: Examination | None,
    servers: Mapping[str, Server],
    now: datetime,
    texts: Texts,
    *,
    has_session: bool,
) -> DoctorModel:
    """Return the view model of the page.

    Args:
        examination: the running or the last examination; None before the first.
        servers: the servers in the cluster file, by name.
        now: the instant of the page.
        texts: the language.
        has_session: whether the caller can send the form.
    """
    refusal = "" if has_session else texts(messages.LOG_IN_FIRST())
    if examination is None:
        sentence, button = texts(messages.NOT_EXAMINED()), texts(messages.EXAMINE())
        return DoctorModel(sentence, "neutral", (), button, refusal, False, ())
    by_subject: dict[str, list[SelfCheckResult]] = {}
    for result in examination.results:
        by_subject.setdefault(result.subject, []).append(result)
    groups = [
        _view_group(number, subject, results, servers.get(subject), texts)
        for number, (subject, results) in enumerate(by_subject.items())
    ]
    ranks = ["bad", "waiting", "good"]
    bad = sum(group.badge.kind == "bad" for group in groups)
    warned = sum(group.badge.kind == "waiting" for group in groups)
    is_running = examination.ended_at is None
    if is_running:
        sentence, kind = messages.EXAMINING(hosts=len(servers)), "busy"
    elif bad or warned:
        sentence, kind = messages.PROBLEMS(bad=bad, warned=warned), "bad" if bad else "waiting"
    else:
        sentence, kind = messages.ALL_PASSED(count=len(examination.results)), "good"
    return DoctorModel(
        sentence=texts(sentence),
        kind=kind,
        when=(make_instant(examination.begun_at, now, texts),),
        button=texts(messages.EXAMINE_AGAIN()),
        refusal=texts(messages.EXAMINATION_RUNS()) if is_running else refusal,
        is_running=is_running,
        groups=tuple(sorted(groups, key=lambda group: ranks.index(group.badge.kind))),
    )


def _view_group(
    number: int,
    subject: str,
    results: Sequence[SelfCheckResult],
    server: Server | None,
    texts: Texts,
) -> HostGroup:
    order = [SelfCheckStatus.BAD, SelfCheckStatus.WARN, SelfCheckStatus.OK]
    worst = min((result.health for result in results), key=order.index)
    attention = [result for result in results if result.health is not SelfCheckStatus.OK]
    findings = tuple(
        FindingRow(
            _badge(result.health, texts),
            result.check,
            texts(result.message),
            split_commands(texts(result.remedy), f"remedy-{number}-{index}"),
        )
        for index, result in enumerate(attention)
    )
    commands = () if server is None else list_commands(server)
    return HostGroup(
        name=subject,
        badge=_badge(worst, texts),
        findings=findings,
        passed=texts(messages.PASSED_COUNT(count=len(results) - len(attention))),
        commands=tuple((f"host-{number}-{i}", command) for i, command in enumerate(commands)),
    )


def _badge(status: SelfCheckStatus, texts: Texts) -> Badge:
    kind, symbol, word = _STATUSES[status]
    return Badge(kind, symbol, texts(word()))


def split_commands(remedy: str, prefix: str) -> tuple[Remedy, ...]:
    """Return the parts of a remedy; its parts in backticks with several words are commands.

    A single word in backticks, such as a key, keeps them.
    """
    parts = remedy.split("`")
    if len(parts) % 2 == 0:  # a backtick that is not closed
        return (Remedy(remedy),)
    return tuple(
        _make_part(part, f"{prefix}-{index}" if index % 2 else "")
        for index, part in enumerate(parts)
        if part
    )


def _make_part(text: str, quoted_id: str) -> Remedy:
    is_word = bool(quoted_id) and " " not in text
    return Remedy(f"`{text}`") if is_word else Remedy(text, quoted_id)


def list_commands(server: Server) -> tuple[str, ...]:
    """Return commands for the inspection of a server's host, quoted for a shell."""
    ssh = ssh_command(server.address)
    tail = shlex.join(["tail", "-n", "50", server.log_file])
    return (shlex.join(ssh), shlex.join([*ssh, tail]))


def ssh_command(address: HostAddress) -> list[str]:
    """Return the words of the command that logs in as the controller does."""
    words = ["ssh", "-p", str(address.port)]
    if address.key_file is not None:
        words += ["-i", str(address.key_file)]
    if address.known_hosts is not None:
        words += ["-o", f"UserKnownHostsFile={address.known_hosts}"]
    if address.jump is not None:
        jump = address.jump
        words += ["-J", f"{jump.user}@{jump.host}:{jump.port}"]
    return [*words, f"{address.user}@{address.host}"]
