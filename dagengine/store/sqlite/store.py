"""The Store contract on one SQLite file: a writer thread, and aiosqlite for reading."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import aiosqlite

from dagengine.errors import StoreUnavailable
from dagengine.model.changes import Batch, RequestReserved
from dagengine.model.events import EventRecord
from dagengine.model.fencing import StoreIdentity
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
from dagengine.runtime.cancellation import wait_out
from dagengine.store import messages
from dagengine.store.contract import BatchRefused, DagRows, LastIds, Retention
from dagengine.store.details import join_details
from dagengine.store.events import merge_events
from dagengine.store.read_cache import ReadCache
from dagengine.store.rows import (
    parse_attempt,
    parse_audit,
    parse_dag,
    parse_identity,
    parse_instant,
    parse_lock,
    parse_log,
    parse_node,
    parse_sub_task,
    parse_unconfirmed,
    render_instant,
    render_json,
)
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.credentials import SqliteCredentials, change_row
from dagengine.store.sqlite.database_file import check_store_link
from dagengine.store.sqlite.lock_file import StoreLock
from dagengine.store.sqlite.prune import prune_slice
from dagengine.store.sqlite.queries import QUERIES
from dagengine.store.sqlite.remedies import remedy_for
from dagengine.store.sqlite.writer import Writer

_ALL = -1  # SQLite: no limit


class SqliteStore(SqliteCredentials):
    """A store in one SQLite file; see dagengine.store.contract.Store for the contract."""

    def __init__(self, path: Path | str) -> None:
        """Set the path; `open` creates a missing file and its directory."""
        self.path = Path(path).absolute()  # independent of later changes of the working directory
        self._claim = StoreLock(self.path)
        self._writer: Writer | None = None
        self._reader: aiosqlite.Connection | None = None
        self._ended: asyncio.Future[None] | None = None
        self._recent = ReadCache()

    async def open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(
                messages.DIRECTORY_FAILED(path=self.path.parent, reason=exc.strerror),
                remedy=remedy_for(exc, self.path),
            ) from exc
        check_store_link(self.path)
        self._claim.take()
        self._recent = ReadCache()
        connect = partial(connect_writer, self.path)
        try:
            self._writer = Writer(connect, self.path, at_end=self._claim.release)
        except BaseException:
            self._claim.release()
            raise
        try:
            await self._open_reader(self._writer)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._begin_to_close()
        if self._ended is None:
            return
        cancelled = await wait_out(self._ended)
        if cancelled is not None:
            raise cancelled

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        return await self._open_writer.commit(batches)

    async def load_unfinished(self) -> tuple[DagRows, ...]:
        dags = [parse_dag(row) for row in await self._read("list_unfinished", _ALL)]
        nodes: dict[int, list[NodeRecord]] = {dag.dag_id: [] for dag in dags}
        sub_tasks: dict[int, list[SubTaskRecord]] = {dag.dag_id: [] for dag in dags}
        for row in await self._read("list_unfinished_nodes"):
            nodes[row["dag_id"]].append(parse_node(row))
        for row in await self._read("list_unfinished_sub_tasks"):
            sub_tasks[row["dag_id"]].append(parse_sub_task(row))
        return tuple(
            DagRows(dag, tuple(nodes[dag.dag_id]), tuple(sub_tasks[dag.dag_id])) for dag in dags
        )

    async def load_dag(self, dag_id: int) -> DagRows | None:
        dag = await self._one_dag(dag_id)
        return None if dag is None else await self._load_rows(dag)

    async def last_ids(self) -> LastIds:
        (row,) = await self._read("last_ids")
        return LastIds(*row)

    async def load_locks(self) -> tuple[LockRecord, ...]:
        return tuple(parse_lock(row) for row in await self._read("list_locks"))

    async def load_unconfirmed(self) -> tuple[UnconfirmedRecord, ...]:
        return tuple(parse_unconfirmed(row) for row in await self._read("list_unconfirmed"))

    async def find_dag(self, dag_id: int, *, details: bool) -> DagDetail | None:
        if not details:
            dag = await self._one_dag(dag_id)
            return None if dag is None else DagDetail(dag, None)
        writer = self._open_writer
        if (recent := self._recent.find(dag_id, writer.request_count)) is not None:
            return recent
        request_count, was_idle = writer.request_count, writer.is_idle
        # Submitted together, executed in order. The DAG is read first: later reads may return
        # newer rows but never older ones, so a DAG read as ended has all its nodes and lines.
        dags, node_rows, task_rows, lines = await asyncio.gather(
            self._read("find_dag", dag_id),
            self._read("list_nodes", dag_id),
            self._read("list_sub_tasks", dag_id),
            self._read("list_logs_of_dag", dag_id),
        )
        nodes = join_details(node_rows, task_rows, lines)
        dag_detail = next((DagDetail(parse_dag(row), nodes) for row in dags), None)
        if dag_detail is not None and was_idle and request_count == writer.request_count:
            self._recent.keep(dag_detail, request_count)
        return dag_detail

    async def find_dags(self, dag_ids: Sequence[int]) -> tuple[DagDetail, ...]:
        ids = render_json(list(dag_ids))
        # In the same order as in find_dag, for the same reason.
        dags, node_rows, task_rows, lines = await asyncio.gather(
            self._read("find_dags", ids),
            self._read("list_nodes_of_dags", ids),
            self._read("list_sub_tasks_of_dags", ids),
            self._read("list_logs_of_dags", ids),
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
        nodes = list(await self._read("find_node", node_id))
        if not nodes or not details:
            return NodeDetail(parse_node(nodes[0]), ()) if nodes else None
        rows = await self._read("list_sub_tasks_of_node", node_id)
        (node_detail,) = join_details(nodes, rows, await self._read("list_logs_of_node", node_id))
        return node_detail

    async def find_sub_task(self, sub_task_id: int) -> SubTaskDetail | None:
        sub_tasks = [parse_sub_task(row) for row in await self._read("find_sub_task", sub_task_id)]
        if not sub_tasks:
            return None
        (node,) = await self._read("find_node", sub_tasks[0].node_id)
        return SubTaskDetail(sub_tasks[0], node["name"], await self.find_logs(sub_task_id))

    async def find_logs(self, sub_task_id: int) -> tuple[LogRecord, ...]:
        return tuple(parse_log(row) for row in await self._read("list_logs", sub_task_id))

    async def last_event(self, dag_id: int) -> int:
        ((last,),) = await self._read("last_event", dag_id)
        return int(last)

    async def list_events(self, dag_id: int, *, after: int, limit: int) -> tuple[EventRecord, ...]:
        rows = await self._read("list_events", dag_id, after, limit)
        lines = await self._read("list_lines_after", dag_id, after, limit)
        return merge_events(rows, lines, after=after, limit=limit)

    async def find_attempts(self, sub_task_id: int) -> tuple[AttemptRecord, ...]:
        return tuple(parse_attempt(row) for row in await self._read("list_attempts", sub_task_id))

    async def list_dag_attempts(self, dag_id: int) -> tuple[AttemptRecord, ...]:
        return tuple(parse_attempt(row) for row in await self._read("list_dag_attempts", dag_id))

    async def list_audit(
        self, dag_id: int | None, *, limit: int, before: int | None = None
    ) -> tuple[AuditRecord, ...]:
        rows = await self._read("list_audit", dag_id, limit, before)
        return tuple(parse_audit(row) for row in rows)

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> tuple[DagRecord, ...]:
        rows = await self._read("search_dags", before, state, name, limit)
        return tuple(parse_dag(row) for row in rows)

    async def count_dags(self) -> Mapping[State, int]:
        return {State(row["state"]): row["dags"] for row in await self._read("count_dags")}

    async def probe(self, now: datetime) -> None:
        writer = self._open_writer

        def write(connection: sqlite3.Connection) -> None:
            writer.refuse_other_file()
            connection.execute(QUERIES["probe"], (str(render_instant(now)),))

        await writer.call(write)

    @property
    def commit_count(self) -> int:
        """Number of commits since the store was opened."""
        return self._open_writer.commits

    @property
    def batch_count(self) -> int:
        """Number of batches in those commits."""
        return self._open_writer.batches

    async def list_dags(self, *, limit: int, unfinished: bool = False) -> tuple[DagRecord, ...]:
        name = "list_newest_unfinished" if unfinished else "list_newest"
        return tuple(parse_dag(row) for row in await self._read(name, limit))

    async def prune(self, retention: Retention, now: datetime) -> int:
        return await self._open_writer.call(partial(prune_slice, retention=retention, now=now))

    async def find_key(self, text: str) -> tuple[str, int] | None:
        matches = [
            (row["digest"], row["dag_id"]) for row in await self._read("find_idempotency_key", text)
        ]
        return matches[0] if matches else None

    async def reserve(
        self, entries: Sequence[tuple[bytes, datetime]], *, delete_before: datetime | None
    ) -> None:
        change = RequestReserved(tuple(entries), delete_before)
        (refusal,) = await self._open_writer.commit([Batch(0, None, (change,))])
        if refusal is not None:
            raise refusal

    async def load_reserved(self) -> Sequence[tuple[bytes, datetime]]:
        rows = await self._read("list_reserved")
        return [(row["digest"], parse_instant(row["until_at"])) for row in rows]

    async def ping(self) -> None:
        await self._open_writer.call(lambda connection: None)

    async def load_identity(self) -> StoreIdentity:
        (row,) = await self._read("load_identity")
        return parse_identity(row)

    async def pin(self, key: str, value: str) -> str:
        def pin(connection: sqlite3.Connection) -> str:
            connection.execute(QUERIES["pin_meta"], (key, value))
            (stored,) = connection.execute(QUERIES["find_meta"], (key,)).fetchone()
            return str(stored)

        return await self._open_writer.call(pin)

    # --- internals -------------------------------------------------------------------------

    async def _open_reader(self, writer: Writer) -> None:
        # A thread inherits the daemon flag from its creator. Created in the writer's daemon
        # thread, the reader does not keep the interpreter alive if the store is left open.
        reader = await writer.call(lambda connection: aiosqlite.connect(self.path))
        try:
            self._reader = await reader
            self._reader.row_factory = sqlite3.Row
            await self._reader.execute_fetchall("PRAGMA query_only = ON")
        except sqlite3.Error as exc:
            raise self._unreadable(exc) from exc
        if self._writer is not writer:
            raise self._closed()  # closed while the reader was opening

    def _begin_to_close(self) -> None:
        """Reject new requests and start closing, without a task that could be cancelled.

        The reader is closed first, because the last connection moves the write-ahead log into the
        file. The writer's thread releases the lock last, when nothing can write any more.
        """
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        stopped = reader.stop() if reader is not None else None
        if writer is None:
            return
        self._ended = writer.ended
        if stopped is None:
            writer.end()
        else:
            stopped.add_done_callback(lambda _: writer.end())

    def _unreadable(self, exc: sqlite3.Error) -> StoreUnavailable:
        remedy = remedy_for(exc, self.path)
        return StoreUnavailable(messages.UNREADABLE(path=self.path, reason=exc), remedy=remedy)

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(messages.CLOSED(path=self.path))

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise self._closed()
        return self._writer

    async def _change(self, name: str, *values: int | str | bytes | None) -> int:
        """Execute one statement in a transaction of its own; return the number of rows."""
        writer = self._open_writer

        def change(connection: sqlite3.Connection) -> int:
            writer.refuse_other_file()
            return change_row(connection, name, values)

        return await writer.call(change)

    async def _read(self, name: str, *values: int | str | bytes | None) -> Iterable[sqlite3.Row]:
        if self._reader is None:
            raise self._closed()
        try:
            return await self._reader.execute_fetchall(QUERIES[name], values)
        except sqlite3.Error as exc:
            raise self._unreadable(exc) from exc

    async def _one_dag(self, dag_id: int) -> DagRecord | None:
        dags = [parse_dag(row) for row in await self._read("find_dag", dag_id)]
        return dags[0] if dags else None

    async def _load_rows(self, dag: DagRecord) -> DagRows:
        nodes = [parse_node(row) for row in await self._read("list_nodes", dag.dag_id)]
        rows = await self._read("list_sub_tasks", dag.dag_id)
        return DagRows(dag, tuple(nodes), tuple(parse_sub_task(row) for row in rows))
