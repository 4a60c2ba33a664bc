"""An engine on a shared store whose cluster was taken over."""

from __future__ import annotations

import pytest

from dagengine import Engine, Outcome, StepContext, Submission, Succeeded
from dagengine.errors import EngineStopped, OwnershipLost
from dagengine.store.mysql.store import MysqlStore
from dagengine.testing import Latch, eventually
from tests.support.minimal_operations import op, submit, succeed
from tests.support.store_databases import StoreDatabase

pytestmark = pytest.mark.slow


async def test_engine_without_ownership_stops_scheduling(seekdb_database: StoreDatabase) -> None:
    latch, ownership = Latch(), await seekdb_database.own_cluster()

    async def wait(context: StepContext) -> Outcome:
        await latch.wait()
        return Succeeded()

    store = MysqlStore(seekdb_database.settings, ownership)
    async with Engine(store=store, operations=[op(wait, succeed)]) as engine:
        dag_id = await submit(engine)
        await latch.reached.wait()
        taken = f"owner = 99, epoch = epoch + 1 WHERE name = '{ownership.cluster}'"
        await seekdb_database.query(f"UPDATE cluster SET {taken}")
        latch.open()

        async def has_stopped() -> bool:
            return not engine.is_scheduling

        await eventually(has_stopped)
        with pytest.raises(EngineStopped):
            await engine.submit(Submission("op"))
        detail = await engine.find_dag(dag_id)
        assert detail is not None
        assert detail.dag.state == "RUNNING"  # as the next owner finds it


async def test_submit_without_ownership_is_refused(seekdb_database: StoreDatabase) -> None:
    ownership = await seekdb_database.own_cluster()
    store = MysqlStore(seekdb_database.settings, ownership)
    async with Engine(store=store, operations=[op(succeed)]) as engine:
        taken = f"owner = 99, epoch = epoch + 1 WHERE name = '{ownership.cluster}'"
        await seekdb_database.query(f"UPDATE cluster SET {taken}")
        with pytest.raises(OwnershipLost):
            await submit(engine)


async def test_fencing_token_has_epoch_of_cluster(seekdb_database: StoreDatabase) -> None:
    ownership = await seekdb_database.own_cluster(epoch=41)
    name = ownership.cluster
    rows = await seekdb_database.query(
        f"SELECT hex(store_id), epoch FROM cluster WHERE name = '{name}'"
    )
    store = MysqlStore(seekdb_database.settings, ownership)
    async with Engine(store=store, operations=[op(succeed)]) as engine:
        token = engine.next_fencing_token("k")
    assert [(token.store_id, token.epoch)] == [(str(rows[0][0]).lower(), 41)]
