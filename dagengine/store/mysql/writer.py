"""The single writer of a cluster: at most one packet is in flight, and a packet holds a group.

While a packet is in flight, new batches collect in the queue; the next packet takes all of them.
Callers never touch the connection, so a cancelled caller does not interrupt a statement.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dagengine.errors import NotSerializable, StaleWrite, StoreUnavailable
from dagengine.model.changes import Batch, DagCreated, LogAppended, SubTaskChanged
from dagengine.runtime.service import Service
from dagengine.store import messages
from dagengine.store.changes import row_error, token_error
from dagengine.store.contract import BatchRefused
from dagengine.store.events import list_event_dags
from dagengine.store.mysql.link import PacketLink, Refused
from dagengine.store.mysql.numbers import Numbers
from dagengine.store.mysql.packet import MAX_PACKET_BYTES
from dagengine.store.mysql.plan import Group, Source, Statement, not_serializable, plan_group
from dagengine.store.mysql.statements import pad_ids, render_query

T = TypeVar("T")

_GROUP_BATCHES = 200  # bounds the duration of a transaction
_GROUP_STATEMENTS = 4000  # bounds the number of results of a packet
_NARROWED_STATEMENTS = 500  # of a larger group, an error names the first row of the statement
_SEQUENCES = 5


@dataclass(frozen=True, slots=True)
class _Request:
    """Batches to commit, or (if `call` is set) a function to run between commits."""

    future: asyncio.Future[Any]
    batches: Sequence[Batch] = ()
    call: Callable[[PacketLink], Awaitable[object]] | None = None


class MysqlWriter(Service):
    """Owns the writing connection of one cluster. Used from one event loop.

    Attributes:
        batches: batches in all commits since the start.
        request_count: requests since the start, including unanswered ones.
        ended: done when the connection is closed.
    """

    name = "store writer"

    def __init__(self, link: PacketLink) -> None:
        super().__init__()
        self._link = link
        self._queue: deque[_Request] = deque()
        self._wake = asyncio.Event()
        self._is_ending = False
        self._answered = 0
        self._numbers = Numbers()
        self.batches = 0
        self.request_count = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_idle(self) -> bool:
        """True if every request is answered."""
        return self._answered == self.request_count

    async def open(self) -> None:
        """Check the ownership, read the numbers of the last rows, and start.

        Raises:
            OwnershipLost: another controller owns the cluster.
            StoreUnavailable: the database cannot be used.
        """
        link = self._link
        await link.read_commit()
        rows = await link.read(render_query("list_sequences", link.cluster))
        if len(rows) < _SEQUENCES:
            text = render_query("ensure_sequences", link.cluster)
            await link.send([Statement((text,))])
            rows = await link.read(render_query("list_sequences", link.cluster))
        following = {str(kind, "ascii"): number for kind, number in rows if isinstance(kind, bytes)}
        log_id, audit_id = following["log"], following["audit"]
        assert isinstance(log_id, int)
        assert isinstance(audit_id, int)
        self._numbers = Numbers(log_id, log_id, audit_id)
        self.start()

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        """Write batches; see Store.commit."""
        return await self._request(batches=batches)  # type: ignore[no-any-return]

    async def call(self, function: Callable[[PacketLink], Awaitable[T]]) -> T:
        """Run a function on the connection between commits."""
        return await self._request(call=function)  # type: ignore[no-any-return]

    def end(self) -> None:
        """Reject new requests and close after the queued ones. Safe to call twice."""
        self._is_ending = True
        self._link.close_soon()
        self._wake.set()
        if not self.is_running:  # `open` failed
            self._close()

    async def _request(self, **arguments: Any) -> Any:
        if self._is_ending:
            raise StoreUnavailable(messages.CLUSTER_CLOSED(cluster=self._link.cluster))
        self._link.check_owned()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.request_count += 1
        self._queue.append(_Request(future, **arguments))
        self._wake.set()
        return await future  # a cancelled caller does not stop the write

    # --- the task ----------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            while await self._has_work():
                group = self._take_group()
                try:
                    results = await self._serve(group)
                except Exception as exc:  # noqa: BLE001  # report defects to the callers, too
                    if self._is_ending and isinstance(exc, StoreUnavailable):
                        group += self._queue  # each would wait for the database as long
                        self._queue.clear()
                    results = [exc] * len(group)
                self._answer(group, results)
        except asyncio.CancelledError:  # the event loop ends; `ended` may have waiters
            self._close()
            raise
        self._close()

    async def _has_work(self) -> bool:
        """Wait for requests; False means: exit."""
        while not self._queue:
            if self._is_ending:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    def _take_group(self) -> list[_Request]:
        """Return the first requests that may share a commit."""
        group = [self._queue.popleft()]
        count = len(group[0].batches)
        while group[0].call is None and self._queue and self._queue[0].call is None:
            count += len(self._queue[0].batches)
            if count > _GROUP_BATCHES:
                break
            group.append(self._queue.popleft())
        return group

    async def _serve(self, group: Sequence[_Request]) -> list[Any]:
        if (call := group[0].call) is not None:
            return [await call(self._link)]
        batches = [batch for request in group for batch in request.batches]
        refusals = iter(await self._write(batches))
        return [[next(refusals) for _ in request.batches] for request in group]

    def _answer(self, group: Sequence[_Request], results: Sequence[Any]) -> None:
        self._answered += len(group)
        for request, result in zip(group, results, strict=True):
            if request.future.done():
                continue  # the caller was cancelled
            if isinstance(result, Exception):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)

    def _close(self) -> None:
        self._link.close()
        if not self.ended.done():
            self.ended.set_result(None)

    # --- groups ------------------------------------------------------------------------------

    async def _write(self, batches: Sequence[Batch]) -> Sequence[BatchRefused | None]:
        """Write batches in one transaction, or in several if they are too large for one."""
        if not batches:
            return []
        self._numbers.trim()
        await self._load_numbers(batches)
        group = plan_group(self._link.cluster, batches, self._numbers)
        if _is_too_large(group):
            if len(batches) == 1:
                error = not_serializable("batch", batches[0].dag_id, "size", messages.TOO_LARGE())
                return [error]
            half = len(batches) // 2
            return [*await self._write(batches[:half]), *await self._write(batches[half:])]
        try:
            await self._commit(group)
        except Refused:
            return await self._write_in_order(batches)
        return group.refusals

    async def _write_in_order(self, batches: Sequence[Batch]) -> Sequence[BatchRefused | None]:
        """Write batches that contain a stale one: one by one, but in one transaction.

        Without merged statements, the first one that fails belongs to the first stale batch.
        Leave that batch out, and send the others again.
        """
        refusals: dict[int, BatchRefused] = {}
        single: set[int] = set()
        while True:
            numbers = [number for number in range(len(batches)) if number not in refusals]
            rest = [batches[number] for number in numbers]
            narrowed = [numbers.index(number) for number in single if number in numbers]
            group = plan_group(
                self._link.cluster, rest, self._numbers, in_order=True, single=narrowed
            )
            for number, refusal in zip(numbers, group.refusals, strict=True):
                if refusal is not None:
                    refusals[number] = refusal
            try:
                await self._commit(group)
            except Refused as exc:
                sources = _sources_of(group, exc)
                number = numbers[sources[0].batch_no]
                is_narrow = len(sources) == 1 or len(group.statements) > _NARROWED_STATEMENTS
                if not (is_narrow or exc.reason or number in single):
                    single.add(number)  # to find the row
                else:
                    refusals[number] = _refusal(batches[number], sources[0], exc)
            else:
                return [refusals.get(number) for number in range(len(batches))]

    async def _commit(self, group: Group) -> None:
        if group.statements:
            await self._link.send(group.statements)
            self._numbers.apply(group.draft)
            self.batches += group.refusals.count(None)

    async def _load_numbers(self, batches: Sequence[Batch]) -> None:
        """Read the event numbers and the DAGs of sub-tasks that the batches need."""
        dag_ids, tasks = _find_needed(batches)
        known = self._numbers.dag_ids
        for ids in pad_ids(tasks - known.keys()):
            for task, dag_id in await self._read_pairs("dags_of_sub_tasks", ids):
                known[task] = dag_id
        dag_ids |= {known[task] for task in tasks if task in known}
        for ids in pad_ids(dag_ids - self._numbers.events.keys()):
            for dag_id, last in await self._read_pairs("last_events", ids):
                self._numbers.events[dag_id] = last

    async def _read_pairs(self, name: str, ids: Sequence[int]) -> Sequence[tuple[int, int]]:
        rows = await self._link.read(render_query(name, self._link.cluster, ids=list(ids)))
        return [(int(str(first)), int(str(second))) for first, second in rows]


def _find_needed(batches: Sequence[Batch]) -> tuple[set[int], set[int]]:
    """Return the DAGs that get events, except new ones, and the sub-tasks that get log lines."""
    changes = [change for batch in batches for change in batch.changes]
    created = {change.dag.dag_id for change in changes if isinstance(change, DagCreated)}
    tasks = {change.line.sub_task_id for change in changes if isinstance(change, LogAppended)}
    moved = {change.before.sub_task_id for change in changes if isinstance(change, SubTaskChanged)}
    made = {
        task.sub_task_id
        for change in changes
        if isinstance(change, DagCreated)
        for task in change.sub_tasks
    }
    dag_ids = {batch.dag_id for batch in batches if batch.dag_id} | list_event_dags(changes)
    return {dag for dag in dag_ids - created if _is_id(dag)}, {
        task for task in tasks - moved - made if _is_id(task)
    }


def _is_id(number: object) -> bool:
    return isinstance(number, int) and 0 < number < 1 << 63


def _is_too_large(group: Group) -> bool:
    size = sum(len(text) for statement in group.statements for text in statement.texts)
    return size > MAX_PACKET_BYTES or len(group.statements) > _GROUP_STATEMENTS


def _sources_of(group: Group, refused: Refused) -> Sequence[Source]:
    statement: Statement | None = None
    if 0 < refused.number <= len(group.statements):
        statement = group.statements[refused.number - 1]
    if statement is None or not statement.sources:
        raise StoreUnavailable(messages.PACKET_REFUSED(reason=refused.reason or "1048"))
    return statement.sources


def _refusal(batch: Batch, source: Source, refused: Refused) -> BatchRefused:
    if refused.reason:
        name = "batch" if source.change is None else type(source.change).__name__
        error: NotSerializable = not_serializable(name, batch.dag_id, "value", refused.reason)
        return error
    stale: StaleWrite = (
        token_error(batch) if source.change is None else row_error(batch.dag_id, source.change)
    )
    return stale
