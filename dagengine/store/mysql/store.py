"""The Store contract on an OceanBase database, for the owner of one cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from dagengine.errors import OwnershipLost, StoreUnavailable
from dagengine.model.changes import Batch, RequestReserved
from dagengine.model.events import EventRecord
from dagengine.model.fencing import Ownership, StoreIdentity
from dagengine.model.records import (
    AttemptRecord,
    AuditRecord,
    DagDetail,
    DagRecord,
    LockRecord,
    LogRecord,
    NodeDetail,
    NodeRecord,
    SubTaskDetail,
    SubTaskRecord,
    UnconfirmedRecord,
)
from dagengine.model.states import State
from dagengine.mysql import MysqlError
from dagengine.runtime.cancellation import wait_out
from dagengine.store import messages
from dagengine.store.contract import BatchRefused, DagRows, LastIds, Retention
from dagengine.store.details import join_details
from dagengine.store.events import merge_events
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.credentials import MysqlCredentials
from dagengine.store.mysql.identity import pin_server_identity
from dagengine.store.mysql.link import PacketLink
from dagengine.store.mysql.migrate import check_schema
from dagengine.store.mysql.packet import query_statements
from dagengine.store.mysql.prune import prune_slice
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import render_query
from dagengine.store.mysql.writer import MysqlWriter
from dagengine.store.read_cache import ReadCache
from dagengine.store.rows import (
    StoredRow,
    parse_attempt,
    parse_audit,
    parse_dag,
    parse_instant,
    parse_lock,
    parse_log,
    parse_node,
    parse_sub_task,
    parse_unconfirmed,
    render_instant,
)

Rows = Sequence[StoredRow]


class MysqlStore(MysqlCredentials):
    """A cluster's rows in a shared database; see dagengine.store.contract.Store for the contract.

    After OwnershipLost every call that writes raises it, and the store can only be closed.
    """

    def __init__(self, settings: MysqlSettings, ownership: Ownership) -> None:
        """Set the database and the ownership under which this store writes."""
        super().__init__(settings, ownership.cluster)
        self._ownership = ownership
        self._link: PacketLink | None = None
        self._writer: MysqlWriter | None = None
        self._last_writer: MysqlWriter | None = None
        self._recent = ReadCache()

    async def open(self) -> None:
        await self._check_database()
        self._recent = ReadCache()
        link = PacketLink(self._settings, self._ownership)
        self._link, self._writer = link, MysqlWriter(link)
        self._last_writer = self._writer
        await super().open()
        try:
            await self._writer.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await super().close()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.end()
        if self._last_writer is None:
            return
        cancelled = await wait_out(self._last_writer.ended)
        if cancelled is not None:
            raise cancelled

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        return await self._open_writer.commit(batches)

    async def load_unfinished(self) -> tuple[DagRows, ...]:
        dag_rows, node_rows, task_rows = await self._read_all(
            self._query("list_unfinished"),
            self._query("list_unfinished_nodes"),
            self._query("list_unfinished_sub_tasks"),
        )
        dags = [parse_dag(row) for row in dag_rows]
        nodes: dict[int, list[NodeRecord]] = {dag.dag_id: [] for dag in dags}
        sub_tasks: dict[int, list[SubTaskRecord]] = {dag.dag_id: [] for dag in dags}
        for row in node_rows:
            nodes[row["dag_id"]].append(parse_node(row))
        for row in task_rows:
            sub_tasks[row["dag_id"]].append(parse_sub_task(row))
        return tuple(
            DagRows(dag, tuple(nodes[dag.dag_id]), tuple(sub_tasks[dag.dag_id])) for dag in dags
        )

    async def load_dag(self, dag_id: int) -> DagRows | None:
        dags, nodes, sub_tasks = await self._read_all(
            self._query("find_dag", dag_id=dag_id),
            self._query("list_nodes", dag_id=dag_id),
            self._query("list_sub_tasks", dag_id=dag_id),
        )
        if not dags:
            return None
        return DagRows(
            parse_dag(dags[0]), tuple(map(parse_node, nodes)), tuple(map(parse_sub_task, sub_tasks))
        )

    async def last_ids(self) -> LastIds:
        (row,) = await self._read("last_ids")
        return LastIds(int(row["dag_id"]), int(row["node_id"]), int(row["sub_task_id"]))

    async def load_locks(self) -> tuple[LockRecord, ...]:
        return tuple(parse_lock(row) for row in await self._read("list_locks"))

    async def load_unconfirmed(self) -> tuple[UnconfirmedRecord, ...]:
        return tuple(parse_unconfirmed(row) for row in await self._read("list_unconfirmed"))

    async def find_dag(self, dag_id: int, *, details: bool) -> DagDetail | None:
        if not details:
            dags = [parse_dag(row) for row in await self._read("find_dag", dag_id=dag_id)]
            return DagDetail(dags[0], None) if dags else None
        writer = self._open_writer
        if (recent := self._recent.find(dag_id, writer.request_count)) is not None:
            return recent
        request_count, was_idle = writer.request_count, writer.is_idle
        # In this order: later queries may return newer rows but never older ones, so a DAG read as
        # ended has all its nodes and lines.
        dag_rows, nodes, sub_tasks, lines = await self._read_all(
            self._query("find_dag", dag_id=dag_id),
            self._query("list_nodes", dag_id=dag_id),
            self._query("list_sub_tasks", dag_id=dag_id),
            self._query("list_logs_of_dag", dag_id=dag_id),
        )
        if not dag_rows:
            return None
        detail = DagDetail(parse_dag(dag_rows[0]), join_details(nodes, sub_tasks, lines))
        if was_idle and request_count == writer.request_count:
            self._recent.keep(detail, request_count)
        return detail

    async def find_dags(self, dag_ids: Sequence[int]) -> tuple[DagDetail, ...]:
        if not dag_ids:
            return ()
        ids = list(dag_ids)
        # In the same order as in find_dag, for the same reason.
        dags, node_rows, task_rows, lines = await self._read_all(
            self._query("find_dags", ids=ids),
            self._query("list_nodes_of_dags", ids=ids),
            self._query("list_sub_tasks_of_dags", ids=ids),
            self._query("list_logs_of_dags", ids=ids),
        )
        nodes: dict[int, list[NodeDetail]] = {}
        for detail in join_details(node_rows, task_rows, lines):
            nodes.setdefault(detail.node.dag_id, []).append(detail)
        by_id = {row["dag_id"]: parse_dag(row) for row in dags}
        return tuple(
            DagDetail(by_id[dag_id], tuple(nodes.get(dag_id, ())))
            for dag_id in dag_ids
            if dag_id in by_id
        )

    async def find_node(self, node_id: int, *, details: bool) -> NodeDetail | None:
        nodes = await self._read("find_node", node_id=node_id)
        if not nodes or not details:
            return NodeDetail(parse_node(nodes[0]), ()) if nodes else None
        sub_tasks, lines = await self._read_all(
            self._query("list_sub_tasks_of_node", node_id=node_id),
            self._query("list_logs_of_node", node_id=node_id),
        )
        (detail,) = join_details(nodes, sub_tasks, lines)
        return detail

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        rows = await self._read("find_sub_task", sub_task_id=sub_task_id)
        if not rows:
            return None
        sub_task = parse_sub_task(rows[0])
        (node,) = await self._read("find_node", node_id=sub_task.node_id)
        return SubTaskDetail(sub_task, str(node["name"]), await self.find_logs(sub_task_id))

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        rows = await self._read("list_logs", sub_task_id=sub_task_id)
        return tuple(parse_log(row) for row in rows)

    async def last_event(self, dag_id: int) -> int:
        (row,) = await self._read("last_event", dag_id=dag_id)
        return int(row["last_seq"])

    async def list_events(self, dag_id: int, *, after: int, limit: int) -> tuple[EventRecord, ...]:
        events, lines = await self._read_all(
            self._query("list_events", dag_id=dag_id, after=after, limit=limit),
            self._query("list_lines_after", dag_id=dag_id, after=after, limit=limit),
        )
        return merge_events(events, lines, after=after, limit=limit)

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        rows = await self._read("list_attempts", sub_task_id=sub_task_id)
        return tuple(parse_attempt(row) for row in rows)

    async def list_dag_attempts(self, dag_id: int) -> tuple[AttemptRecord, ...]:
        rows = await self._read("list_dag_attempts", dag_id=dag_id)
        return tuple(parse_attempt(row) for row in rows)

    async def list_audit(
        self, dag_id: int | None, *, limit: int, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        rows = await self._read("list_audit", dag_id=dag_id, limit=limit, before=before)
        return tuple(parse_audit(row) for row in rows)

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagRecord, ...]:
        rows = await self._read("search_dags", before=before, state=state, name=name, limit=limit)
        return tuple(parse_dag(row) for row in rows)

    async def count_dags(self) -> Mapping[State, int]:
        return {State(row["state"]): int(row["dags"]) for row in await self._read("count_dags")}

    async def probe(self, now: datetime) -> None:
        statement = query_statements(
            "probe", self._cluster, expected=1, value=str(render_instant(now))
        )

        async def write(link: PacketLink) -> None:
            await link.send([statement])

        await self._open_writer.call(write)

    @property
    def commit_count(self) -> int:
        """Number of commits since the store was opened."""
        link = self._link
        return 0 if link is None else link.commits

    @property
    def batch_count(self) -> int:
        """Number of batches in those commits."""
        return self._open_writer.batches

    async def list_dags(self, *, limit: int, unfinished: bool = False) -> tuple[DagRecord, ...]:
        name = "list_newest_unfinished" if unfinished else "list_newest"
        return tuple(parse_dag(row) for row in await self._read(name, limit=limit))

    async def prune(self, retention: Retention, now: datetime) -> int:
        return await self._open_writer.call(partial(prune_slice, retention=retention, now=now))

    async def find_key(self, text: str) -> tuple[str, int] | None:
        rows = await self._read("find_idempotency_key", key_text=text)
        return (str(rows[0]["digest"]), int(rows[0]["dag_id"])) if rows else None

    async def reserve(
        self, entries: Sequence[tuple[bytes, datetime]], *, delete_before: datetime | None
    ) -> None:
        change = RequestReserved(tuple(entries), delete_before)
        (refusal,) = await self._open_writer.commit([Batch(0, None, (change,))])
        if refusal is not None:
            raise refusal

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        query = self._query("list_reserved")
        (rows,) = await self._open_reader.read([query], binary={"digest"})
        return [(row["digest"], parse_instant(row["until_at"])) for row in rows]

    async def ping(self) -> None:
        async def do_nothing(_link: PacketLink) -> None: ...

        await self._open_writer.call(do_nothing)

    async def load_identity(self) -> StoreIdentity:
        rows = await self._read("load_identity")
        if not rows:
            raise OwnershipLost(messages.CLUSTER_UNKNOWN(cluster=self._cluster))
        return StoreIdentity(str(rows[0]["store_id"]), int(rows[0]["epoch"]))

    async def pin(self, key: str, value: str) -> str:
        cluster = self._cluster
        statement = query_statements("pin_meta", cluster, name=key, value=value)

        async def write(link: PacketLink) -> str:
            await link.send([statement])
            ((stored,),) = await link.read(render_query("find_meta", cluster, name=key))
            return str(stored)

        return await self._open_writer.call(write)

    # --- internals -------------------------------------------------------------------------

    async def _check_database(self) -> None:
        connection = await open_store_connection(self._settings)
        try:
            await check_schema(connection, self._settings)
            await pin_server_identity(connection, self._settings)
        except MysqlError as exc:
            raise connect_error(self._settings, exc) from exc
        finally:
            connection.close()

    @property
    def _open_writer(self) -> MysqlWriter:
        if self._writer is None:
            raise StoreUnavailable(messages.CLUSTER_CLOSED(cluster=self._cluster))
        return self._writer

    def _query(self, name: str, /, **values: Any) -> str:
        return render_query(name, self._cluster, **values)

    async def _read(self, name: str, /, **values: Any) -> Rows:
        (rows,) = await self._read_all(self._query(name, **values))
        return rows

    async def _read_all(self, *queries: str) -> Sequence[Rows]:
        return await self._open_reader.read(queries)
