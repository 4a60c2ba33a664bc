"""The store on real databases whose connection is lost, whose cluster is taken, or that freeze."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from dagengine.errors import OwnershipLost, StaleWrite, StoreUnavailable
from dagengine.model.changes import AuditAppended, NodeChanged, SubTaskChanged
from dagengine.model.fencing import Ownership
from dagengine.model.records import AuditRecord
from dagengine.model.states import State
from dagengine.mysql import MysqlServerError
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.packet import query_statements, render_packet
from dagengine.store.mysql.plan import Statement
from dagengine.store.mysql.store import MysqlStore
from dagengine.testing import eventually
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of
from tests.support.store_databases import StoreDatabase
from tests.support.tcp_proxy import Loss, TcpProxy, open_proxy


@dataclass(frozen=True)
class Proxied:
    """An open store behind a proxy, with one DAG."""

    database: StoreDatabase
    proxy: TcpProxy
    store: MysqlStore
    ownership: Ownership

    async def commit_no(self) -> object:
        cluster = self.ownership.cluster
        ((number,),) = await self.database.query(
            f"SELECT commit_no FROM cluster WHERE name = '{cluster}'"
        )
        return number

    async def lines(self) -> list[str]:
        rows = await self.database.query(
            f"SELECT content FROM log WHERE cluster = '{self.ownership.cluster}' ORDER BY log_id"
        )
        return [str(content) for (content,) in rows]

    async def take_over(self) -> None:
        """Do what another controller does that declares this one dead."""
        await self.database.query(
            "UPDATE cluster SET owner = 8, epoch = epoch + 1, commit_no = commit_no + 1 "
            f"WHERE name = '{self.ownership.cluster}'"
        )


DATABASES = [
    pytest.param("seekdb_database", id="seekdb"),
    pytest.param("mariadb_database", id="mariadb", marks=pytest.mark.slow),
]


@pytest_asyncio.fixture(params=DATABASES)
async def proxied(request: pytest.FixtureRequest) -> AsyncIterator[Proxied]:
    database: StoreDatabase = request.getfixturevalue(request.param)
    ownership = await database.own_cluster()
    await database.forget_identity()
    async with open_proxy(database.settings.port) as proxy:
        store = MysqlStore(replace(database.settings, port=proxy.port), ownership)
        await store.open()
        await commit_one(store, batch_of(create()))
        yield Proxied(database, proxy, store, ownership)
        await store.close()
    await database.forget_identity()  # other tests use no proxy


BOUND_S = 60.0
LOSSES = [Loss.BEFORE_SENDING, Loss.HALF_SENT, Loss.BEFORE_RESPONSE]


@pytest.mark.parametrize("loss", LOSSES)
async def test_store_lost_connection_writes_group_once(proxied: Proxied, loss: Loss) -> None:
    before = await proxied.commit_no()
    assert isinstance(before, int)
    proxied.proxy.loss = loss
    assert await commit_one(proxied.store, batch_of(line_of(create(), "one"))) is None
    assert proxied.proxy.lost.is_set()
    assert await commit_one(proxied.store, batch_of(line_of(create(), "two"))) is None
    assert await proxied.lines() == ["one", "two"]
    assert await proxied.commit_no() == before + 2


@pytest.mark.parametrize("loss", LOSSES)
async def test_store_taken_while_result_unknown_is_fenced(proxied: Proxied, loss: Loss) -> None:
    proxied.proxy.loss = loss
    writing = asyncio.ensure_future(commit_one(proxied.store, batch_of(line_of(create(), "first"))))
    await proxied.proxy.lost.wait()
    proxied.proxy.admits = False
    await proxied.take_over()
    await proxied.database.forget_identity()
    successor = MysqlStore(proxied.database.settings, await _read_ownership(proxied))
    await successor.open()
    assert await commit_one(successor, batch_of(line_of(create(), "of the successor"))) is None
    await successor.close()
    proxied.proxy.admits = True
    with pytest.raises(OwnershipLost):
        await writing
    with pytest.raises(OwnershipLost):
        await proxied.store.probe(NOW)
    written = await proxied.lines()
    assert written[-1] == "of the successor"
    assert len(written) <= 2  # a packet may have been written before the cluster was taken


async def _read_ownership(proxied: Proxied) -> Ownership:
    cluster = proxied.ownership.cluster
    ((owner, epoch, number),) = await proxied.database.query(
        f"SELECT owner, epoch, commit_no FROM cluster WHERE name = '{cluster}'"
    )
    assert isinstance(owner, int)
    assert isinstance(epoch, int)
    assert isinstance(number, int)
    return Ownership(cluster, owner, epoch, number)


async def test_store_of_taken_cluster_writes_nothing(proxied: Proxied) -> None:
    await proxied.take_over()
    with pytest.raises(OwnershipLost):
        await commit_one(proxied.store, batch_of(line_of(create(), "late")))
    with pytest.raises(OwnershipLost):
        await proxied.store.pin("a", "b")
    assert await proxied.lines() == []
    await proxied.database.forget_identity()
    again = MysqlStore(proxied.database.settings, proxied.ownership)
    with pytest.raises(OwnershipLost):
        await again.open()


async def test_store_of_deleted_cluster_writes_nothing(proxied: Proxied) -> None:
    cluster = proxied.ownership.cluster
    await proxied.database.query(f"DELETE FROM cluster WHERE name = '{cluster}'")
    with pytest.raises(OwnershipLost):
        await commit_one(proxied.store, batch_of(line_of(create(), "late")))
    assert await proxied.lines() == []


async def test_store_unknown_commit_ends_engine(proxied: Proxied) -> None:
    await proxied.database.query(
        f"UPDATE cluster SET commit_no = commit_no + 5 WHERE name = '{proxied.ownership.cluster}'"
    )
    with pytest.raises(OwnershipLost, match="did not make"):
        await commit_one(proxied.store, batch_of(line_of(create(), "late")))
    assert await proxied.lines() == []


async def test_store_unreachable_database_fails_then_works(proxied: Proxied) -> None:
    proxied.proxy.admits = False
    proxied.proxy.cut()
    with pytest.raises(StoreUnavailable):
        await proxied.store.count_dags()
    # By now the end of the writing connection is known, too: nothing is sent.
    with pytest.raises(StoreUnavailable):
        await commit_one(proxied.store, batch_of(line_of(create(), "lost")))
    proxied.proxy.admits = True
    assert await commit_one(proxied.store, batch_of(line_of(create(), "kept"))) is None
    assert await proxied.lines() == ["kept"]
    assert (await proxied.store.count_dags())[State.READY] == 1


async def test_store_closes_while_result_is_unknown(proxied: Proxied) -> None:
    proxied.proxy.loss, proxied.proxy.admits = Loss.BEFORE_SENDING, False
    writing = asyncio.ensure_future(commit_one(proxied.store, batch_of(line_of(create(), "lost"))))
    await proxied.proxy.lost.wait()
    await proxied.store.close()
    with pytest.raises(StoreUnavailable, match="unknown"):
        await writing


async def test_store_closes_while_every_packet_is_lost(proxied: Proxied) -> None:
    """The database answers reads, so the packet could be sent again for ever."""
    proxied.proxy.loss, proxied.proxy.is_lasting = Loss.BEFORE_SENDING, True
    writing = asyncio.ensure_future(commit_one(proxied.store, batch_of(line_of(create(), "lost"))))
    await proxied.proxy.lost.wait()
    async with asyncio.timeout(BOUND_S):
        await proxied.store.close()
    with pytest.raises(StoreUnavailable):
        await writing
    assert await proxied.lines() == []


async def test_store_closing_tries_lost_packet_once_more(proxied: Proxied) -> None:
    proxied.proxy.loss = Loss.BEFORE_SENDING
    writing = asyncio.ensure_future(commit_one(proxied.store, batch_of(line_of(create(), "kept"))))
    await proxied.proxy.lost.wait()
    await proxied.store.close()
    assert await writing is None
    assert await proxied.lines() == ["kept"]


async def test_store_closing_without_database_refuses_queue(proxied: Proxied) -> None:
    """Otherwise each request in the queue would wait for the database as long as the first."""
    proxied.proxy.loss, proxied.proxy.admits = Loss.BEFORE_SENDING, False
    writing = [asyncio.ensure_future(proxied.store.probe(NOW)) for _ in range(20)]
    await proxied.proxy.lost.wait()
    before = proxied.proxy.refused
    await proxied.store.close()
    results = await asyncio.gather(*writing, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert proxied.proxy.refused - before < len(writing)


# --- guards --------------------------------------------------------------------------------------


async def test_packet_with_zero_and_two_rows_writes_nothing(proxied: Proxied) -> None:
    """A sum of the numbers of rows would be right."""
    cluster, created = proxied.ownership.cluster, create()
    number = await proxied.commit_no()
    assert isinstance(number, int)
    where = f"WHERE cluster = '{cluster}'"
    statements = [
        Statement([f"UPDATE node SET flags = 99 {where} AND node_id = 12345"], 1),
        Statement([f"UPDATE node SET flags = 99 {where}"], len(created.nodes) - 1),
    ]
    connection = await open_store_connection(proxied.database.settings)
    with pytest.raises(MysqlServerError) as caught:
        await connection.query_all(render_packet(proxied.ownership, number, statements))
    assert caught.value.number == 1048
    ((bad,),) = (await connection.query("ROLLBACK; SELECT @bad")).rows
    connection.close()
    assert bad == 1
    assert await proxied.commit_no() == number
    rows = await proxied.database.query(f"SELECT flags FROM node {where} AND flags = 99")
    assert not rows


async def test_store_stale_batch_in_group_is_skipped(proxied: Proxied) -> None:
    """The second batch is valid only because the first one is skipped."""
    created = create()
    node, task = created.nodes[0], created.sub_tasks[0]
    moved = NodeChanged(node, node._replace(state=State.RUNNING))
    late = line_of(created, "x", attempt_no=task.attempt_no + 1)
    results = await proxied.store.commit(
        [
            batch_of(moved, late),
            batch_of(moved),
            batch_of(moved),
            batch_of(line_of(created, "last")),
        ]
    )
    assert [type(result) for result in results] == [StaleWrite, type(None), StaleWrite, type(None)]
    assert "sub-task 1" in str(results[0])
    assert "node 1" in str(results[2])
    assert await proxied.lines() == ["last"]


async def test_store_late_guard_of_stale_batch_is_found(proxied: Proxied) -> None:
    """In a merged group the second batch would fail before the guard that makes the first stale."""
    created = create()
    node, task = created.nodes[0], created.sub_tasks[0]
    moved = NodeChanged(node, node._replace(state=State.RUNNING))
    first = task._replace(attempt_no=1)
    stale = SubTaskChanged(task._replace(attempt_no=5), first)
    chain = (SubTaskChanged(task, first), line_of(created, "x", attempt_no=1), stale)
    results = await proxied.store.commit([batch_of(moved, *chain), batch_of(moved)])
    assert [type(result) for result in results] == [StaleWrite, type(None)]
    assert await proxied.lines() == []


@pytest.mark.slow
async def test_frozen_client_releases_row_of_cluster(proxied: Proxied) -> None:
    """A client that stops right after error 1048 holds the cluster's row for a bounded time."""
    number = await proxied.commit_no()
    assert isinstance(number, int)
    stale = query_statements("prune_dag", proxied.ownership.cluster, expected=5, dag_id=99)
    frozen = await open_store_connection(proxied.database.settings)
    with pytest.raises(MysqlServerError):
        await frozen.query_all(render_packet(proxied.ownership, number, [stale]))

    async def is_taken() -> bool:
        try:
            await proxied.take_over()
        except MysqlServerError:  # the wait for the row timed out
            return False
        return True

    limits = proxied.database.settings.limits
    try:
        await eventually(is_taken, timeout_s=limits.transaction_s + 1.5)
    finally:
        frozen.close()
    assert (await _read_ownership(proxied)).owner == 8


# --- several callers -----------------------------------------------------------------------------


async def test_store_audit_ids_are_dense_after_lost_packet(proxied: Proxied) -> None:
    row = AuditRecord(0, NOW, 1, None, "RETRY", "me", "why")
    for loss in LOSSES:
        proxied.proxy.loss = loss
        assert await commit_one(proxied.store, batch_of(AuditAppended(row))) is None
    audit = await proxied.store.list_audit(None, limit=9)
    assert [entry.audit_id for entry in audit] == [3, 2, 1]


async def test_store_cancelled_callers_do_not_mix_results(proxied: Proxied) -> None:
    created = create()
    calls = [
        asyncio.ensure_future(
            proxied.store.commit([batch_of(line_of(created, str(n), attempt_no=n % 2))])
        )
        for n in range(40)
    ]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    for n, result in enumerate(results):
        if n % 3 == 0:
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert isinstance(result, list)
            assert isinstance(result[0], StaleWrite) == bool(n % 2)
    written = await proxied.lines()
    assert written == [str(n) for n in range(40) if n % 2 == 0]
