"""The page of a plan: what an operation would do, and the button that does exactly this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dagengine import DagDetail
from dagengine.errors import DagengineError, IllegalArgument, RouteNotFound
from dagengine.extension import (
    Call,
    CurrentPlan,
    PageCall,
    Redirect,
    View,
    make_plan,
    parse_digest,
    parse_key,
    submit_planned,
)
from tasks.cluster.access import ClusterAccess
from tasks.cluster.scope import ScopeKind
from tasks.planning.operations import RequestedAction, ServerOperation
from tasks.web import messages
from tasks.web.plan_model import Holder, PlanRecord, view_plan, view_refused_plan

TEMPLATE = "tasks.web/plan.html"
REFUSED_TEMPLATE = "tasks.web/plan_refused.html"
_REASON_CHARS = 4000


@dataclass(frozen=True, slots=True)
class PlanPages:
    """The page of a plan, and its action.

    Attributes:
        access: the cluster.
        operations: the operations on servers.
        make_key: makes an idempotency key.
    """

    access: ClusterAccess
    operations: Sequence[ServerOperation]
    make_key: Callable[[], str]

    async def show(self, call: PageCall) -> View:
        """Show the current plan; queries the hosts, and changes nothing."""
        operation, action = self._read(call)
        body = operation.make_body(action)
        api_call: Call = Call(call.engine, body, call.caller)  # type: ignore[arg-type]
        try:
            current = await make_plan(operation.planner, api_call, self.access.cluster)
        except DagengineError as exc:
            if len(operation.list_modes(action.kind)) < 2:
                raise
            # Another mode may be possible, such as a stop without SQL.
            model = view_refused_plan(operation, action, call.texts.describe(exc), call.texts)
            title = _render_title(call, operation, action)
            return View(REFUSED_TEMPLATE, model, status=exc.http_status, title=title)
        return await self._view(call, operation, action, current)

    async def run(self, call: PageCall) -> View | Redirect:
        """Run the operation if its plan is the one that the user has seen."""
        operation, action = self._read(call)
        action = replace(action, reason=read_reason(call.form.get("reason", "")))
        body = operation.make_body(action)
        digest = parse_digest(call.form.get("digest", ""))
        key = parse_key(call.form.get("key", ""), route=f"POST {operation.path}", body=body)
        api_call: Call = Call(call.engine, body, call.caller, key=key)  # type: ignore[arg-type]
        if key is not None and (dag := await call.engine.find_submitted(key)) is not None:
            return _open_task(call, dag)
        result = await submit_planned(
            operation.handler, operation.planner, api_call, self.access.cluster, digest
        )
        if isinstance(result, DagDetail):
            return _open_task(call, result)
        seen: dict[str, str] = {}
        for text in call.form.getall("seen", []):
            name, _, verdict = text.rpartition(" ")
            seen[name] = verdict
        view = await self._view(call, operation, action, result, seen)
        return replace(view, status=412)

    def _read(self, call: PageCall) -> tuple[ServerOperation, RequestedAction]:
        name = call.path.get("operation", "")
        operation = next((each for each in self.operations if each.name == name), None)
        if operation is None:
            raise RouteNotFound(messages.OPERATION_UNKNOWN(name=name))
        query = call.query
        try:
            kind = ScopeKind(query.get("scope", ScopeKind.GLOBAL))
        except ValueError:
            raise IllegalArgument(
                messages.SCOPE_UNKNOWN(scope=query["scope"]), remedy=messages.OPEN_SERVERS()
            ) from None
        modes = [mode.value for mode in operation.list_modes(kind)]
        default = modes[0] if modes else ""
        mode = query.get("mode", default)
        action = RequestedAction(
            kind,
            tuple(query.getall("target", [])),
            mode if mode in modes else default,
            tuple(query.getall("pass", [])),
            tuple(query.getall("skip", [])) if operation.takes_skips else (),
        )
        return operation, action

    async def _view(
        self,
        call: PageCall,
        operation: ServerOperation,
        action: RequestedAction,
        current: CurrentPlan,
        seen: Mapping[str, str] | None = None,
    ) -> View:
        lock = call.engine.holder(current.plan.lock_key or "")
        holder = None
        if lock is not None and lock.dag_id is not None:
            about = await call.engine.describe_holder(lock)
            holder = Holder(call.engine.generic_id(lock.dag_id), about)
        record = PlanRecord(
            operation, action, current, holder, call.can_change, self.make_key(), seen or {}
        )
        title = _render_title(call, operation, action)
        return View(TEMPLATE, view_plan(record, call.texts), title=title)


def _render_title(call: PageCall, operation: ServerOperation, action: RequestedAction) -> str:
    subject = ", ".join(action.targets) or call.texts(messages.ALL_SERVERS())
    return call.texts(
        messages.OPERATION_ON(operation=call.texts(operation.title()), subject=subject)
    )


def read_reason(text: str) -> str:
    """Return the reason of a form.

    Raises:
        IllegalArgument: it is missing or too long.
    """
    reason = text.strip()
    if not 0 < len(reason) <= _REASON_CHARS:
        raise IllegalArgument(
            messages.REASON_MISSING(), remedy=messages.STATE_REASON(limit=_REASON_CHARS)
        )
    return reason


def _open_task(call: PageCall, detail: DagDetail) -> Redirect:
    return Redirect(f"/task/{call.engine.generic_id(detail.dag.dag_id)}")
