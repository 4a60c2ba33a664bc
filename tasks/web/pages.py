"""The pages about servers: their states, plans, and the doctor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dagengine.extension import Page, PageAction, Right
from tasks.cluster.access import ClusterAccess
from tasks.doctor.background import BackgroundDoctor
from tasks.planning.operations import ServerOperation
from tasks.web import messages
from tasks.web.doctor import DoctorPages
from tasks.web.plan import PlanPages
from tasks.web.servers import servers_view

_TEMPLATES = "tasks.web"


def cluster_pages(
    access: ClusterAccess,
    operations: Sequence[ServerOperation],
    doctor: BackgroundDoctor,
    make_key: Callable[[], str],
) -> Sequence[Page]:
    """Return the pages, in the order of the menu.

    Args:
        access: the cluster.
        operations: the operations that the pages offer.
        doctor: runs examinations.
        make_key: makes an idempotency key.
    """
    plan, examination = PlanPages(access, operations, make_key), DoctorPages(access, doctor)
    return (
        Page(
            "/",
            messages.SERVERS,
            servers_view(access.cluster, operations),
            messages,
            templates=_TEMPLATES,
        ),
        Page(
            "/plan/{operation}",
            messages.PLAN,
            plan.show,
            messages,
            actions={"run": PageAction(plan.run)},
            is_in_menu=False,
            templates=_TEMPLATES,
        ),
        Page(
            "/doctor",
            messages.DOCTOR,
            examination.show,
            messages,
            actions={"examine": PageAction(examination.run, Right.READ)},
            templates=_TEMPLATES,
        ),
    )
