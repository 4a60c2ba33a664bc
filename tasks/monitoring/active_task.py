"""The task that is at work on the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from dagengine import Engine, Json
from tasks.cluster.observation import ServerActivity
from tasks.cluster.servers import Server
from tasks.errors import StoredParamsInvalid
from tasks.flavours.base import StopMode
from tasks.operations.lock_stage import LOCK_KEY
from tasks.operations.names import START_OB
from tasks.operations.params import StopParams


@dataclass(frozen=True, slots=True)
class ActiveTask:
    """Activity of the task that holds the cluster lock, and the affected servers."""

    task_id: str = ""
    targets: tuple[str, ...] = ()
    move: ServerActivity | None = None
    name: str = ""

    def of(self, server: Server) -> ServerActivity | None:
        return self.move if server.name in self.targets else None


async def find_active_task(engine: Engine) -> ActiveTask:
    """Return the activity of the task that holds the cluster lock."""
    holder = engine.holder(LOCK_KEY)
    detail = None
    if holder is not None and holder.dag_id is not None:
        detail = await engine.find_dag(holder.dag_id, details=False)
    if detail is None:
        return ActiveTask()
    dag = detail.dag
    move = _read_move(dag.name, dag.params)
    return ActiveTask(engine.generic_id(dag.dag_id), dag.targets, move, dag.name)


def _read_move(name: str, params: Json) -> ServerActivity:
    if name == START_OB:
        return ServerActivity.STARTING
    try:
        is_by_sql = StopParams.from_json(params).mode is StopMode.PLAIN
    except StoredParamsInvalid:
        is_by_sql = False  # the task itself reports the error
    return ServerActivity.SERVICE_STOPPING if is_by_sql else ServerActivity.PROCESS_STOPPING
