"""The view model of the page of a plan. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from dagengine.extension import Badge, CurrentPlan, PlanPart, ServerPlan, Texts
from tasks.cluster.scope import ScopeKind
from tasks.planning.operations import RequestedAction, ServerOperation
from tasks.preflight.checks import CHECKS
from tasks.preflight.result import Severity, SkipPolicy
from tasks.web import messages

_VERDICTS = {
    "start": ("busy", "▶", messages.VERDICT_START),
    "stop": ("busy", "◼", messages.VERDICT_STOP),
    "nothing": ("neutral", "-", messages.VERDICT_NOTHING),
    "blocked": ("bad", "✗", messages.VERDICT_BLOCKED),
    "unknown": ("waiting", "?", messages.VERDICT_UNKNOWN),
}
_LEVELS = {
    Severity.WARN: ("waiting", "⚠", messages.LEVEL_WARN),
    Severity.BLOCK: ("bad", "✗", messages.LEVEL_BLOCK),
    Severity.SKIPPED: ("waiting", "↷", messages.LEVEL_SKIPPED),
}
_CHANGES = {
    PlanPart.TARGETS: messages.CHANGED_TARGETS,
    PlanPart.VERDICTS: messages.CHANGED_VERDICTS,
    PlanPart.LOCK: messages.CHANGED_LOCK,
    PlanPart.CLUSTER_FILE: messages.CHANGED_CLUSTER_FILE,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A link to another plan; `current` is the value of `aria-current`."""

    text: str
    href: str
    current: str = "false"


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check that did not pass; `skips` has at most one link to a plan without it."""

    badge: Badge
    name: str
    cause: str
    remedy: str
    skips: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The plan for one server.

    Attributes:
        name: name of the server.
        badge: the verdict.
        verdict: the verdict, for the field that shows later what has changed.
        was: the verdict in the plan that the user has seen; empty if it is the same.
        reason: explanation of the verdict.
        checks: the checks that did not pass.
        commands: the commands that would run, with ids for the buttons that copy them.
    """

    name: str
    badge: Badge
    verdict: str
    was: str
    reason: str
    checks: tuple[CheckRow, ...]
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LockState:
    """The lock that the operation needs.

    Attributes:
        text: its state in words.
        kind: class of the state.
        links: to the task that holds it, and to the plan that takes the lock over.
    """

    text: str
    kind: str
    links: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class RefusedPlan:
    """The view model of a plan that cannot be made.

    Attributes:
        sentence: that there is none.
        problem: why, and what to do instead.
        modes: the ways to run the operation.
    """

    sentence: str
    problem: str
    modes: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class PlanModel:
    """The view model of the page.

    Attributes:
        sentence: what would be done, in figures.
        changes: what has changed since the plan that the user has seen; empty for nothing.
        notices: what to know about the plan.
        modes: the ways to run the operation.
        lock: state of the lock.
        rows: the servers.
        do_it: text of the button.
        refusal: why the button is disabled; empty if it is not.
        digest: digest of the plan.
        key: idempotency key of the plan.
        path: path of the form.
        command: the same as a command.
        reason: the reason that was given before.
    """

    sentence: str
    changes: tuple[str, ...]
    notices: tuple[str, ...]
    modes: tuple[Choice, ...]
    lock: LockState
    rows: tuple[PlanRow, ...]
    do_it: str
    refusal: str
    digest: str
    key: str
    path: str
    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class Holder:
    """The task that holds the lock: its id, and a sentence about it."""

    task_id: str
    about: str


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan with everything that its page shows.

    Attributes:
        operation: the operation.
        action: the choice of the user.
        current: the plan.
        holder: the holder of the lock; None if it is free.
        can_change: whether the user may start and stop servers.
        key: a new idempotency key.
        seen: the verdicts by server in the plan that the user has seen.
    """

    operation: ServerOperation
    action: RequestedAction
    current: CurrentPlan
    holder: Holder | None
    can_change: bool
    key: str
    seen: Mapping[str, str]


def view_plan(record: PlanRecord, texts: Texts) -> PlanModel:
    """Return the view model of the page."""
    current, operation, action = record.current, record.operation, record.action
    rows = tuple(
        _view_row(number, server, record, texts)
        for number, server in enumerate(current.plan.servers)
    )
    return PlanModel(
        sentence=_count_verdicts(current.plan.servers, texts),
        changes=tuple(texts(_CHANGES[part]()) for part in current.changes),
        notices=tuple(texts(notice) for notice in current.plan.notices),
        modes=_view_modes(record.operation, record.action, texts),
        lock=_view_lock(record, texts),
        rows=rows,
        do_it=texts(messages.DO_IT(operation=texts(operation.title()))),
        refusal=_find_refusal(record, texts),
        digest=str(current.digest),
        key=record.key,
        path=plan_href(operation, action),
        command=render_command(record),
        reason=action.reason,
    )


def plan_href(operation: ServerOperation, action: RequestedAction) -> str:
    """Return the path of the page for a choice."""
    pairs = [("scope", str(action.kind)), *(("target", target) for target in action.targets)]
    if action.mode:
        pairs.append(("mode", action.mode))
    pairs += [("pass", task_id) for task_id in action.force_pass]
    pairs += [("skip", check) for check in action.skip_checks]
    return f"/ui/plan/{operation.name}?{urlencode(pairs)}"


def view_refused_plan(
    operation: ServerOperation, action: RequestedAction, problem: str, texts: Texts
) -> RefusedPlan:
    """Return the view model of a plan that the operation refuses to make in this mode."""
    modes = _view_modes(operation, action, texts)
    return RefusedPlan(texts(messages.PLAN_REFUSED()), problem, modes)


def _view_modes(
    operation: ServerOperation, action: RequestedAction, texts: Texts
) -> tuple[Choice, ...]:
    return tuple(
        Choice(
            texts(mode.title()),
            plan_href(operation, replace(action, mode=mode.value)),
            "true" if mode.value == action.mode else "false",
        )
        for mode in operation.list_modes(action.kind)
    )


def render_command(record: PlanRecord) -> str:
    """Return the command that does the same, quoted for a shell."""
    action = record.action
    words = ["dagengine", record.operation.name]
    if action.kind is not ScopeKind.GLOBAL:
        words += [f"--{action.kind.lower()}", ",".join(action.targets)]
    if action.mode and action.mode != "sql":
        words.append(f"--{action.mode}")
    for task_id in action.force_pass:
        words += ["--force-pass", task_id]
    for check in action.skip_checks:
        words += ["--skip-check", check]
    return shlex.join([*words, "--if-plan", str(record.current.digest)])


def _count_verdicts(servers: Sequence[ServerPlan], texts: Texts) -> str:
    counts = dict.fromkeys(_VERDICTS, 0)
    for server in servers:
        counts[server.verdict] += 1
    parts = [
        texts(messages.VERDICT_COUNT(verdict=texts(_VERDICTS[verdict][2]()), count=count))
        for verdict, count in counts.items()
        if count
    ]
    return texts(messages.PLAN_SENTENCE(parts=", ".join(parts)))


def _view_row(number: int, server: ServerPlan, record: PlanRecord, texts: Texts) -> PlanRow:
    kind, symbol, word = _VERDICTS[server.verdict]
    reason = texts(server.reason)
    was = record.seen.get(server.name, server.verdict if record.seen else "")
    before = _VERDICTS.get(was)
    is_other = bool(record.seen) and was != server.verdict
    if record.seen and server.name not in record.seen:
        was_text = texts(messages.NOT_IN_PLAN())
    else:
        was_text = texts(before[2]()) if before and is_other else ""
    return PlanRow(
        name=server.name,
        badge=Badge(kind, symbol, texts(word())),
        verdict=server.verdict,
        was=was_text,
        # The reason of a block repeats the check that blocks.
        reason="" if any(check["level"] == Severity.BLOCK for check in server.checks) else reason,
        checks=tuple(
            _view_check(check, record, texts)
            for check in server.checks
            if Severity(check["level"]) in _LEVELS
        ),
        commands=tuple(
            (f"command-{number}-{index}", command) for index, command in enumerate(server.commands)
        ),
    )


def _view_check(check: Mapping[str, str], record: PlanRecord, texts: Texts) -> CheckRow:
    level = Severity(check["level"])
    kind, symbol, word = _LEVELS[level]
    name, action = check["check"], record.action
    skips: tuple[Choice, ...] = ()
    may_be_skipped = record.operation.takes_skips and CHECKS[name].skip is not SkipPolicy.NO
    if level is Severity.BLOCK and may_be_skipped and name not in action.skip_checks:
        without = replace(action, skip_checks=(*action.skip_checks, name))
        href = plan_href(record.operation, without)
        skips = (Choice(texts(messages.SKIP_CHECK(check=name)), href),)
    badge = Badge(kind, symbol, texts(word()))
    return CheckRow(badge, name, texts(check["cause"]), texts(check["remedy"]), skips)


def _view_lock(record: PlanRecord, texts: Texts) -> LockState:
    holder, action = record.holder, record.action
    if holder is None:
        return LockState(texts(messages.LOCK_FREE()), "good")
    task = Choice(texts(messages.SHOW_HOLDER()), f"/ui/task/{holder.task_id}")
    if holder.task_id in action.force_pass:
        return LockState(texts(messages.LOCK_PASSED(about=holder.about)), "waiting", (task,))
    taken = replace(action, force_pass=(*action.force_pass, holder.task_id))
    take = Choice(texts(messages.TAKE_LOCK()), plan_href(record.operation, taken))
    return LockState(texts(messages.LOCK_HELD(about=holder.about)), "bad", (task, take))


def _find_refusal(record: PlanRecord, texts: Texts) -> str:
    """Return why the plan cannot be executed from this page; empty if it can."""
    holder, servers = record.holder, record.current.plan.servers
    if not record.can_change:
        return texts(messages.REFUSED_READ_ONLY())
    if holder is not None and holder.task_id not in record.action.force_pass:
        return texts(messages.REFUSED_LOCK())
    if holder is not None:
        return ""  # it ends the task that holds the lock, even if the servers need nothing
    if all(server.verdict == "nothing" for server in servers):
        return texts(messages.REFUSED_NOTHING())
    if not any(server.verdict in ("start", "stop") for server in servers):
        return texts(messages.REFUSED_BLOCKED())
    return ""
