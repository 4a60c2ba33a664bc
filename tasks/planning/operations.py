"""The operations that users apply to servers, for pages: what each one takes, plans and submits.

An operation in this list appears on the pages without a change to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from dagengine.errors import Message
from dagengine.extension import Handler, Planner
from tasks.cluster.access import ClusterAccess
from tasks.cluster.scope import ScopeKind
from tasks.planning import messages
from tasks.planning.dry_run import start_planner, stop_planner
from tasks.planning.start import StartRequest, start_handler
from tasks.planning.stop import StopRequest, stop_handler


@dataclass(frozen=True, slots=True)
class RequestedAction:
    """A choice of a user on a page.

    Attributes:
        kind: kind of the scope.
        targets: zones or servers; empty for the whole cluster.
        mode: value of a mode of the operation; empty if it has none.
        force_pass: ids of tasks to pass if they hold the lock.
        skip_checks: names of checks that must not block.
        reason: reason for the audit.
    """

    kind: ScopeKind
    targets: tuple[str, ...] = ()
    mode: str = ""
    force_pass: tuple[str, ...] = ()
    skip_checks: tuple[str, ...] = ()
    reason: str = ""


class MakeBody(Protocol):
    """Make the body of the operation's request."""

    def __call__(self, action: RequestedAction) -> BaseModel: ...


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to run an operation.

    Attributes:
        value: in URLs, and the option of the command.
        title: short description.
        is_for_cluster: whether it may be applied to the whole cluster.
    """

    value: str
    title: Message
    is_for_cluster: bool = True


@dataclass(frozen=True, slots=True)
class ServerOperation:
    """An operation on servers.

    Attributes:
        name: in URLs, and the name of the command.
        title: the text of its buttons.
        path: path of its route; the idempotency key belongs to this route.
        make_body: makes the body of its request.
        handler: submits it.
        planner: plans it.
        modes: the ways to run it, the default first; empty if there is only one.
        takes_skips: whether a request may skip checks.
        brings_up: whether it brings servers up that are down.
    """

    name: str
    title: Message
    path: str
    make_body: MakeBody
    handler: Handler[Any]
    planner: Planner[Any]
    modes: tuple[Mode, ...] = ()
    takes_skips: bool = False
    brings_up: bool = False

    def list_modes(self, kind: ScopeKind) -> tuple[Mode, ...]:
        """Return the modes for a kind of scope."""
        return tuple(m for m in self.modes if m.is_for_cluster or kind is not ScopeKind.GLOBAL)


TERMINATE = Mode("terminate", messages.MODE_TERMINATE)
FORCE = Mode("force", messages.MODE_FORCE)
BY_SQL = Mode("sql", messages.MODE_SQL, is_for_cluster=False)


def server_operations(access: ClusterAccess) -> Sequence[ServerOperation]:
    """Return the operations on the servers of a cluster, in the order of their buttons."""
    by_sql = (BY_SQL,) if access.cluster.current.flavour.forms_cluster else ()
    return (
        ServerOperation(
            name="start",
            title=messages.START,
            path="/ob/start",
            make_body=_make_start,
            handler=start_handler(access.cluster),
            planner=start_planner(access),
            takes_skips=True,
            brings_up=True,
        ),
        ServerOperation(
            name="stop",
            title=messages.STOP,
            path="/ob/stop",
            make_body=_make_stop,
            handler=stop_handler(access),
            planner=stop_planner(access),
            modes=(*by_sql, TERMINATE, FORCE),
        ),
    )


def _make_start(action: RequestedAction) -> StartRequest:
    return StartRequest.model_validate(
        {**_render_common(action), "skipChecks": list(action.skip_checks)}
    )


def _make_stop(action: RequestedAction) -> StopRequest:
    flags = {mode.value: action.mode == mode.value for mode in (FORCE, TERMINATE)}
    return StopRequest.model_validate({**_render_common(action), **flags})


def _render_common(action: RequestedAction) -> dict[str, object]:
    return {
        "scope": {"type": action.kind, "target": list(action.targets)},
        "forcePassDag": {"id": list(action.force_pass)},
        "reason": action.reason,
    }
