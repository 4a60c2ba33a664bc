"""The pages about DAGs, in the order of the menu."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine.model.states import Operator
from dagengine.runtime.logging import LogRing
from dagengine.web import messages
from dagengine.web.page import Page, PageAction, PageView
from dagengine.web.views.audit import download_audit, show_audit
from dagengine.web.views.controller_log import LogPage
from dagengine.web.views.locks import show_locks
from dagengine.web.views.operators import PASS_STAGE
from dagengine.web.views.task import (
    download_json,
    download_log,
    operate_task,
    pass_stage,
    show_task,
)
from dagengine.web.views.tasks import show_tasks

_OPERATORS = (Operator.RETRY, Operator.ROLLBACK, Operator.PASS, Operator.CANCEL)


def dag_pages(ring: LogRing) -> Sequence[Page]:
    """Return the pages about DAGs; `ring` has the log of the cluster."""
    return (
        Page("/tasks", messages.TASKS, show_tasks, messages),
        Page(
            "/task/{id}",
            messages.TASK,
            show_task,
            messages,
            actions={
                **{operator.lower(): PageAction(operate_task) for operator in _OPERATORS},
                PASS_STAGE: PageAction(pass_stage),
            },
            is_in_menu=False,
        ),
        _hidden("/task/{id}/json", download_json),
        _hidden("/task/{id}/log/{sub_task_id}", download_log),
        Page("/locks", messages.LOCKS, show_locks, messages),
        Page("/audit", messages.AUDIT, show_audit, messages),
        _hidden("/audit/csv", download_audit),
        Page("/log", messages.CONTROLLER_LOG, LogPage(ring).show, messages),
    )


def _hidden(path: str, view: PageView) -> Page:
    return Page(path, messages.DOWNLOAD, view, messages, is_in_menu=False)
