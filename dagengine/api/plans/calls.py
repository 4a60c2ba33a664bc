"""Calls with a plan: the plan and its digest, and a call that requires this plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dagengine.api import messages
from dagengine.api.extension import B, Call, ClusterView, Handler, Plan, Planner
from dagengine.api.plans.digest import CHANGES, PlanDigest, digest_plan
from dagengine.api.schemas.tasks import PlanPart
from dagengine.engine.engine import Engine
from dagengine.errors import ApiError, PlanChanged
from dagengine.model.operation import Submission
from dagengine.model.records import DagDetail


@dataclass(frozen=True, slots=True)
class CurrentPlan:
    """A plan as of now.

    Attributes:
        plan: the plan.
        digest: of its decisions.
        changes: the parts in which it differs from the plan of the caller; empty if the
            caller named none.
    """

    plan: Plan
    digest: PlanDigest
    changes: tuple[PlanPart, ...] = ()


async def make_plan(planner: Planner[B], call: Call[B], cluster: ClusterView) -> CurrentPlan:
    """Return the current plan of a call. Raises the errors of the call's handler."""
    plan = await planner(call)
    return CurrentPlan(plan, _digest_now(plan, call.engine, cluster))


async def submit_planned(
    handler: Handler[B],
    planner: Planner[B],
    call: Call[B],
    cluster: ClusterView,
    expected: PlanDigest,
) -> DagDetail | CurrentPlan:
    """Run a call if its plan still has the expected digest.

    The plan is made from fresh facts. Its digest is compared in the step that creates the DAG,
    with the submission itself, so that neither the lock nor the cluster file can change between
    comparison and creation.

    Returns:
        The DAG, or the new plan if its digest is different; then nothing was done. A call with an
        idempotency key that has created a DAG before returns that DAG.

    Raises:
        ApiError: as the handler.
    """
    try:
        plan = await planner(call)

        def ensure_unchanged(submission: Submission) -> None:
            current = replace(plan, submission=submission)
            if expected.find_changes(_digest_now(current, call.engine, cluster)):
                raise PlanChanged(messages.PLAN_CHANGED())

        result = await handler(replace(call, condition=ensure_unchanged))
    except ApiError as exc:
        # The same call may have arrived twice: the effects of the first one change the plan.
        if call.key is not None and (dag := await call.engine.find_submitted(call.key)) is not None:
            return dag
        if not isinstance(exc, PlanChanged):
            raise
        new = await make_plan(planner, call, cluster)
        return replace(new, changes=expected.find_changes(new.digest))
    assert isinstance(result, DagDetail)
    return result


def plan_changed_error(changes: tuple[PlanPart, ...]) -> PlanChanged:
    """Return the error of a call whose plan has changed in these parts."""
    descriptions = ", ".join(CHANGES[change]() for change in changes)
    return PlanChanged(
        messages.PLAN_CHANGED_IN(changes=descriptions) if changes else messages.PLAN_CHANGED(),
        remedy=messages.REVIEW_NEW_PLAN(),
    )


def _digest_now(plan: Plan, engine: Engine, cluster: ClusterView) -> PlanDigest:
    claims = engine.list_claims(plan.lock_key) if plan.lock_key is not None else ()
    return digest_plan(plan, claims, cluster.file_digest)
