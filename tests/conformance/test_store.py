"""The store's contract (dagengine.store.base): every store passes every test."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from operator import methodcaller
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.engine.registry import Registry
from dagengine.errors import StaleWrite, StoreInUse, StoreTooNew, StoreUnusable
from dagengine.model.history import DagEntered, EventRecord, NodeEntered, SubTaskEntered
from dagengine.model.outcome import Outcome, Succeeded
from dagengine.model.records import (
    AttemptRecord,
    AuditRecord,
    LockRecord,
    LogRecord,
    UnprovenRecord,
)
from dagengine.model.spec import (
    IdempotencyKey,
    Operation,
    Stage,
    StageKind,
    StepContext,
    Submission,
)
from dagengine.model.states import State
from dagengine.model.transition import (
    AttemptClosed,
    Audited,
    Batch,
    Change,
    DagChanged,
    DagCreated,
    KeyUsed,
    LockReleased,
    LockTaken,
    LogAppended,
    NodeChanged,
    SubTaskChanged,
    TargetProven,
    TargetUnproven,
)
from dagengine.store.base import LastIds, Retention
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.connect import APPLICATION_ID, list_migrations
from dagengine.store.sqlite.queries import read_sql
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import CrashingStore, FakeClock

NOW = FakeClock().now()
STORES: dict[str, Callable[[Path], SqliteStore]] = {
    "sqlite": SqliteStore,
    "crashing": lambda path: CrashingStore(str(path)),
}


async def do_nothing(context: StepContext) -> Outcome:
    return Succeeded()


OPERATION = Operation(
    "op",
    (Stage("one", StageKind.NORMAL, do_nothing), Stage("two", StageKind.PARALLEL, do_nothing)),
    lock_key="k",
)


@pytest_asyncio.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = STORES[request.param](tmp_path / "new" / "store.sqlite")
    await opened.open()
    yield opened
    await opened.close()


def create(dag_id: int = 1) -> DagCreated:
    """A DAG of one normal stage and one of two lanes."""
    before = LastIds(dag_id - 1, (dag_id - 1) * 2, (dag_id - 1) * 3)
    return Registry([OPERATION]).instantiate(Submission("op", ("a", "b"), {"x": "ü"}), before, NOW)


def batch_of(*changes: Change, dag_id: int = 1, fence: int | None = None) -> Batch:
    return Batch(dag_id, fence, changes)


def line_of(created: DagCreated, content: str, *, attempt_no: int = 0) -> LogAppended:
    task = created.sub_tasks[0]
    return LogAppended(LogRecord(0, task.sub_task_id, attempt_no, 0, content, NOW))


async def commit_one(store: SqliteStore, batch: Batch) -> StaleWrite | None:
    (result,) = await store.commit([batch])
    return result


# --- reading what was written ----------------------------------------------------------------


async def test_what_was_created_is_read_as_it_was(store: SqliteStore) -> None:
    created = create()
    assert await commit_one(store, batch_of(created)) is None
    rows = await store.load_dag(1)
    assert rows is not None
    assert (rows.dag, rows.nodes, rows.sub_tasks) == (
        created.dag,
        created.nodes,
        created.sub_tasks,
    )
    assert await store.load_unfinished() == (rows,)
    assert await store.last_ids() == LastIds(1, 2, 3)
    detail = await store.find_dag(1, details=True)
    assert detail is not None
    assert detail.nodes is not None
    assert [[s.sub_task for s in node.sub_tasks] for node in detail.nodes] == [
        [created.sub_tasks[0]],
        list(created.sub_tasks[1:]),
    ]


async def test_what_does_not_exist_is_none_or_empty(store: SqliteStore) -> None:
    assert await store.load_dag(7) is None
    assert await store.find_dag(7, details=True) is None
    assert await store.find_node(7, details=True) is None
    assert await store.find_sub_task(7) is None
    assert await store.find_logs(7) == ()
    assert await store.list_dags(limit=5) == ()
    assert await store.last_ids() == LastIds(0, 0, 0)


async def test_lists_are_newest_first_and_limited(store: SqliteStore) -> None:
    await store.commit([batch_of(create(n), dag_id=n) for n in (1, 2, 3)])
    dag = create(2).dag
    ended = dag._replace(state=State.SUCCEED)
    assert await commit_one(store, batch_of(DagChanged(dag, ended), dag_id=2)) is None
    assert [d.dag_id for d in await store.list_dags(limit=2)] == [3, 2]
    assert [d.dag_id for d in await store.list_dags(limit=9, unfinished=True)] == [3, 1]


async def test_lines_come_back_in_the_order_of_writing(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    for number in range(20):
        await commit_one(store, batch_of(line_of(created, f"line {number}")))
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == [f"line {n}" for n in range(20)]


async def test_reserved_requests_are_read_back_until_they_have_expired(store: SqliteStore) -> None:
    soon, late = NOW + timedelta(seconds=1), NOW + timedelta(seconds=99)
    await store.reserve([b"a", b"b"], soon, NOW)
    await store.reserve([b"b", b"c"], late, NOW)  # the same one again is no error
    assert sorted(await store.load_reserved()) == [(b"a", soon), (b"b", soon), (b"c", late)]
    await store.close()
    await store.open()
    await store.reserve([b"d"], late, NOW + timedelta(seconds=2))
    assert sorted(await store.load_reserved()) == [(b"c", late), (b"d", late)]


async def test_a_pinned_value_is_never_changed(store: SqliteStore) -> None:
    assert await store.pin("advertise", "first") == "first"
    assert await store.pin("advertise", "second") == "first"


async def test_everything_is_there_after_closing_and_opening(store: SqliteStore) -> None:
    await commit_one(store, batch_of(create()))
    await store.close()
    await store.close()
    await store.open()
    assert await store.load_dag(1) is not None


async def test_a_dag_is_read_as_it_is_now_whatever_was_read_before(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    written = 0

    async def write() -> None:
        nonlocal written
        for number in range(100):
            await commit_one(store, batch_of(line_of(created, f"line {number}")))
            written = number + 1

    async def count_lines() -> int:
        detail = await store.find_dag(1, details=True)
        assert detail is not None
        assert detail.nodes is not None
        return len(detail.nodes[0].sub_tasks[0].logs)

    writing = asyncio.create_task(write(), name="writing")
    while not writing.done():
        known = written
        assert await count_lines() >= known
        await asyncio.sleep(0)
    await writing
    assert [await count_lines() for _ in range(3)] == [100, 100, 100]
    await store.prune(Retention(max_age_s=1.0, max_count=1), NOW + timedelta(days=1))
    await store.close()
    await store.open()
    assert await count_lines() == 100


async def test_an_unchanged_dag_is_read_from_the_file_once(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    first = await store.find_dag(1, details=True)
    asked: list[str] = []
    read = store._read  # whether the file is asked cannot be seen from outside

    def note(name: str, *values: int | str | None) -> object:
        asked.append(name)
        return read(name, *values)

    monkeypatch.setattr(store, "_read", note)
    assert await store.find_dag(1, details=True) is first
    assert asked == []
    await commit_one(store, batch_of(line_of(created, "more")))
    assert await store.find_dag(1, details=True) != first
    assert asked != []


async def test_a_dag_with_very_many_lines_is_not_kept_in_memory(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    lines = [line_of(created, f"line {number}") for number in range(2001)]
    await commit_one(store, batch_of(*lines))
    first, second = [await store.find_dag(1, details=True) for _ in range(2)]
    assert first == second
    assert first is not second


# --- guards ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["dag", "node", "sub-task", "attempt", "line", "fence"])
async def test_a_change_of_something_that_moved_on_is_stale_and_its_whole_batch_is_left_out(
    store: SqliteStore, what: str
) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    dag, node, task = created.dag, created.nodes[0], created.sub_tasks[0]
    running = State.RUNNING
    moved_task = task._replace(state=running, attempt_no=1)
    attempt = AttemptRecord(task.sub_task_id, 1, "Succeeded", None, NOW, NOW)
    stale: dict[str, Batch] = {
        "dag": batch_of(DagChanged(dag._replace(state=running), dag)),
        "node": batch_of(NodeChanged(node._replace(state=running), node)),
        "sub-task": batch_of(SubTaskChanged(moved_task, task)),
        "attempt": batch_of(AttemptClosed(attempt), AttemptClosed(attempt)),
        "line": batch_of(line_of(created, "x", attempt_no=3)),
        "fence": batch_of(line_of(created, "x"), fence=9),
    }
    good = batch_of(SubTaskChanged(task, moved_task))
    bad = replace(stale[what], changes=(line_of(created, "of the batch"), *stale[what].changes))
    results = await store.commit([bad, good])
    assert isinstance(results[0], StaleWrite)
    assert results[1] is None, "another batch was harmed"
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.dag == dag
    assert await store.find_logs(task.sub_task_id) == ()


async def test_a_lock_goes_to_one_and_its_token_grows(store: SqliteStore) -> None:
    await store.commit([batch_of(create(n), dag_id=n) for n in (1, 2)])
    first = LockRecord("k", 1, 1, "op", NOW)
    assert await commit_one(store, batch_of(LockTaken(first))) is None
    rival = LockRecord("k", 2, 2, "op", NOW)
    assert isinstance(await commit_one(store, batch_of(LockTaken(rival), dag_id=2)), StaleWrite)
    wrong = LockReleased("k", 2, 1, NOW)
    assert isinstance(await commit_one(store, batch_of(wrong, dag_id=2)), StaleWrite)
    assert await commit_one(store, batch_of(LockReleased("k", 1, 1, NOW))) is None
    same_token = LockRecord("k", 2, 1, "op", NOW)
    taking = batch_of(LockTaken(same_token), dag_id=2)
    assert isinstance(await commit_one(store, taking), StaleWrite)
    assert await commit_one(store, batch_of(LockTaken(rival), dag_id=2)) is None
    assert await store.load_locks() == (rival,)


# --- one writer ------------------------------------------------------------------------------


async def test_calls_at_once_are_written_in_their_order(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    calls = [store.commit([batch_of(line_of(created, str(n)))]) for n in range(300)]
    results = await asyncio.gather(*calls)
    assert results == [[None]] * 300
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == [str(n) for n in range(300)]


async def test_calls_at_once_share_commits(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    before = count_commits(store)
    await asyncio.gather(*(store.commit([batch_of(line_of(created, "x"))]) for _ in range(300)))
    assert count_commits(store) - before < 100


def count_commits(store: SqliteStore) -> int:
    """Commit frames of the write-ahead log: their header names the database's size."""
    data = store.path.with_name(store.path.name + "-wal").read_bytes()
    page_bytes = int.from_bytes(data[8:12], "big")
    frames = range(32, len(data), 24 + page_bytes)
    return sum(int.from_bytes(data[at + 4 : at + 8], "big") != 0 for at in frames)


async def test_a_cancelled_caller_leaves_no_transaction_open(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    calls = [
        asyncio.ensure_future(store.commit([batch_of(line_of(created, str(n)))])) for n in range(9)
    ]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await commit_one(store, batch_of(line_of(created, "last"))) is None
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert lines[-1].content == "last"
    assert {"1", "3", "5", "7"} <= {line.content for line in lines}


async def test_a_commit_that_fails_leaves_nothing_and_the_next_one_works(
    store: SqliteStore,
) -> None:
    with pytest.raises(StoreUnusable, match="UNIQUE"):
        await store.commit([batch_of(create()), batch_of(create())])
    assert await store.load_dag(1) is None
    assert await commit_one(store, batch_of(create())) is None


async def test_a_defect_in_the_writer_is_told_and_the_next_commit_works(store: SqliteStore) -> None:
    with pytest.raises(ZeroDivisionError):
        await store._open_writer.call(lambda connection: 1 / 0)
    assert await commit_one(store, batch_of(create())) is None


async def test_a_second_controller_is_refused_by_the_name_of_the_first(store: SqliteStore) -> None:
    second = SqliteStore(store.path)
    with pytest.raises(StoreInUse, match=r"in use by pid \d+"):
        await second.open()
    await second.close()
    program = (
        "import asyncio, sys\n"
        "from dagengine.store.sqlite.store import SqliteStore\n"
        "asyncio.run(SqliteStore(sys.argv[1]).open())\n"
    )
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", program, str(store.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "StoreInUse" in done.stderr


async def test_what_was_written_reaches_the_disk_before_it_is_told(store: SqliteStore) -> None:
    """WAL with synchronous=FULL: seen by another connection, and flushed by that pragma."""
    pragmas = await store._open_writer.call(
        lambda connection: [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    )
    assert pragmas == ["wal", 2, 1]
    await commit_one(store, batch_of(create()))
    with sqlite3.connect(store.path) as other:
        assert other.execute("SELECT COUNT(*) FROM dag").fetchone() == (1,)
    other.close()


async def test_instants_keep_their_microseconds(store: SqliteStore) -> None:
    created = create()
    odd = NOW + timedelta(microseconds=123_457)
    created = replace(created, dag=created.dag._replace(start_at=odd))
    await commit_one(store, batch_of(created))
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.dag.start_at == odd


# --- what is read of attempts and audit ----------------------------------------------------------


async def test_the_audit_can_be_read_and_never_changed(store: SqliteStore) -> None:
    rows = [AuditRecord(0, NOW, n, None, "RETRY", "me", "why") for n in (1, 2, 1)]
    await store.commit([batch_of(Audited(row)) for row in rows])
    assert [row.audit_id for row in await store.list_audit(None, limit=9)] == [3, 2, 1]
    assert [row.audit_id for row in await store.list_audit(1, limit=9)] == [3, 1]
    assert [row.audit_id for row in await store.list_audit(1, limit=1)] == [3]
    for statement in ("UPDATE audit SET by = 'x'", "DELETE FROM audit"):
        with pytest.raises(StoreUnusable, match="append-only"):
            await store._open_writer.call(methodcaller("execute", statement))


async def test_the_running_attempt_is_read_from_its_sub_task(store: SqliteStore) -> None:
    created = create()
    task = created.sub_tasks[0]
    begun = task._replace(state=State.RUNNING, attempt_no=1, start_at=NOW)
    await commit_one(store, batch_of(created))
    await commit_one(store, batch_of(SubTaskChanged(task, begun)))
    running = AttemptRecord(task.sub_task_id, 1, None, None, NOW, NOW)
    assert await store.find_attempts(task.sub_task_id) == (running,)
    ended = AttemptRecord(task.sub_task_id, 1, "Failed", "why", NOW, NOW)
    failed = SubTaskChanged(begun, begun._replace(state=State.FAILED))
    await commit_one(store, batch_of(AttemptClosed(ended), failed))
    assert await store.find_attempts(task.sub_task_id) == (ended,)


async def test_a_target_stays_unproven_until_somebody_has_looked(store: SqliteStore) -> None:
    await commit_one(store, batch_of(create()))
    first, second = (UnprovenRecord("a", 1, stage, NOW) for stage in ("start", "stop"))
    assert await commit_one(store, batch_of(TargetUnproven(first))) is None
    assert await commit_one(store, batch_of(TargetUnproven(second))) is None
    await store.close()
    await store.open()
    assert await store.load_unproven() == (second,)
    assert await commit_one(store, batch_of(TargetProven("a"))) is None
    assert isinstance(await commit_one(store, batch_of(TargetProven("a"))), StaleWrite)
    assert await store.load_unproven() == ()


# --- retention -----------------------------------------------------------------------------------


async def finish(store: SqliteStore, dag_id: int, end_at: datetime, lines: int = 1) -> None:
    created = create(dag_id)
    batch = batch_of(created, *(line_of(created, "x") for _ in range(lines)), dag_id=dag_id)
    ended = created.dag._replace(state=State.SUCCEED, end_at=end_at)
    await store.commit([batch, batch_of(DagChanged(created.dag, ended), dag_id=dag_id)])


async def prune(store: SqliteStore, retention: Retention) -> int:
    slices = 0
    while await store.prune(retention, NOW):
        slices += 1
    return slices


async def kept(store: SqliteStore) -> list[int]:
    return [dag.dag_id for dag in await store.list_dags(limit=99)]


async def test_old_dags_go_and_unfinished_and_the_newest_stay(store: SqliteStore) -> None:
    long_ago = NOW - timedelta(days=100)
    await finish(store, 1, long_ago)
    await store.commit([batch_of(create(2), dag_id=2)])
    await finish(store, 3, NOW)
    await finish(store, 4, long_ago)
    ids = await store.last_ids()
    await prune(store, Retention(max_age_s=86_400))
    assert await kept(store) == [4, 3, 2]
    assert await store.last_ids() == ids
    assert await store.find_logs(1) == ()


async def test_of_many_dags_the_newest_are_kept(store: SqliteStore) -> None:
    for dag_id in range(1, 8):
        await finish(store, dag_id, NOW)
    await prune(store, Retention(max_count=3))
    assert await kept(store) == [7, 6, 5]


async def test_a_dag_with_many_lines_goes_in_slices_and_others_write_meanwhile(
    store: SqliteStore,
) -> None:
    await finish(store, 1, NOW - timedelta(days=9), lines=5000)
    await store.commit([batch_of(create(2), dag_id=2)])
    assert 0 < await store.prune(Retention(max_age_s=1), NOW) <= 2000
    assert await kept(store) == [2, 1]
    assert await commit_one(store, batch_of(line_of(create(2), "meanwhile"), dag_id=2)) is None
    assert await prune(store, Retention(max_age_s=1)) >= 2
    assert await kept(store) == [2]


# --- backup --------------------------------------------------------------------------------------


async def test_a_backup_is_taken_while_others_write_and_opens_as_a_store(
    store: SqliteStore, tmp_path: Path
) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    target = tmp_path / "copy.sqlite"

    async def write() -> None:
        for number in range(200):
            await commit_one(store, batch_of(line_of(created, str(number))))

    _, size_bytes = await asyncio.gather(
        write(), asyncio.to_thread(backup_store, store.path, target)
    )
    assert size_bytes == target.stat().st_size > 0
    assert target.stat().st_mode & 0o777 == 0o600
    copy = SqliteStore(target)
    await copy.open()
    assert await copy.load_dag(1) == await store.load_dag(1)
    lines = [line.content for line in await copy.find_logs(1)]
    assert lines == [str(number) for number in range(len(lines))]
    await copy.close()


async def test_a_backup_overwrites_nothing_and_refuses_what_is_no_store(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with pytest.raises(StoreUnusable, match="there is no store"):
        backup_store(tmp_path / "nothing", target)
    (tmp_path / "notes").write_text("x" * 5000)
    with pytest.raises(StoreUnusable, match="cannot be copied"):
        backup_store(tmp_path / "notes", target)
    assert list(tmp_path.iterdir()) == [tmp_path / "notes"]
    target.write_text("precious")
    with pytest.raises(StoreUnusable, match="exists"):
        backup_store(tmp_path / "notes", target)
    assert target.read_text() == "precious"


# --- files that are not ours -----------------------------------------------------------------


async def refuse(path: Path, error: type[Exception], match: str) -> None:
    before = path.read_bytes()
    with pytest.raises(error, match=match):
        await SqliteStore(path).open()
    assert path.read_bytes() == before, "a file that was refused was changed"


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"precious notes " * 1000)
    await refuse(path, StoreUnusable, "file is not a database")


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    await refuse(path, StoreUnusable, "some other program")


async def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 999")
    newer.close()
    await refuse(path, StoreTooNew, "schema 999")


async def test_a_damaged_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.commit([batch_of(create(n), dag_id=n) for n in range(1, 50)])
    await store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 6] = b"\xa5" * (4096 * 4)
    path.write_bytes(bytes(data))
    await refuse(path, StoreUnusable, "damaged")


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match=r"cannot make .*file/var"):
        await SqliteStore(tmp_path / "file" / "var" / "store.sqlite").open()


# --- events ----------------------------------------------------------------------------------


def begun(created: DagCreated) -> tuple[Change, ...]:
    """The first stage begins, as the rules write it: its sub-task has had one attempt."""
    dag, node, task = created.dag, created.nodes[0], created.sub_tasks[0]
    running = State.RUNNING
    return (
        DagChanged(dag, dag._replace(state=running)),
        NodeChanged(node, node._replace(state=running)),
        SubTaskChanged(task, task._replace(state=running, attempt_no=1, execute_times=1)),
    )


async def test_events_are_numbered_in_the_order_of_the_commits(store: SqliteStore) -> None:
    created, other = create(), create(2)
    await commit_one(store, batch_of(created, *begun(created)))
    await commit_one(store, batch_of(other, dag_id=2))
    await commit_one(store, batch_of(line_of(created, "first", attempt_no=1)))
    await commit_one(store, batch_of(line_of(other, "not ours"), dag_id=2))
    await commit_one(store, batch_of(line_of(created, "second", attempt_no=1)))
    events = await store.list_events(1, after=0, limit=100)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert [type(event.what) for event in events] == [
        *(DagEntered, DagEntered, NodeEntered, SubTaskEntered),
        *(LogRecord, LogRecord),
    ]
    task = events[3].what
    assert isinstance(task, SubTaskEntered)
    assert (task.sub_task_id, task.state, task.attempt_no, task.execute_times) == (
        *(created.sub_tasks[0].sub_task_id, State.RUNNING),
        *(1, 1),
    )
    assert task.at == NOW
    assert await store.last_event(1) == 6
    assert await store.last_event(2) == 2


async def test_the_end_of_a_dag_is_the_last_event_of_its_commit(store: SqliteStore) -> None:
    created = create()
    dag, node = created.dag, created.nodes[0]
    ended = dag._replace(state=State.SUCCEED)
    changes = (DagChanged(dag, ended), NodeChanged(node, node._replace(state=State.RUNNING)))
    await commit_one(store, batch_of(created, *changes))
    *_, last = await store.list_events(1, after=0, limit=100)
    assert isinstance(last.what, DagEntered)
    assert last.what.state is State.SUCCEED


async def test_what_no_follower_can_see_is_no_event(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    await commit_one(store, batch_of(DagChanged(created.dag, created.dag._replace(fence=1))))
    assert await store.last_event(1) == 1


async def test_a_batch_that_was_left_out_leaves_no_gap(store: SqliteStore) -> None:
    created = create()
    await commit_one(store, batch_of(created))
    good, stale = line_of(created, "good"), line_of(created, "stale", attempt_no=7)
    node = created.nodes[0]
    results = await asyncio.gather(
        commit_one(store, batch_of(good)),
        commit_one(store, batch_of(stale)),
        commit_one(store, batch_of(good)),
        commit_one(store, batch_of(NodeChanged(node, node._replace(state=State.RUNNING)))),
    )
    assert [result is None for result in results] == [True, False, True, True]
    assert [event.seq for event in await store.list_events(1, after=0, limit=9)] == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_events_can_be_read_in_pages(store: SqliteStore, limit: int) -> None:
    created = create()
    await commit_one(store, batch_of(created, *begun(created)))
    for number in range(5):
        await commit_one(store, batch_of(line_of(created, f"line {number}", attempt_no=1)))
    whole = await store.list_events(1, after=0, limit=100)
    read: list[EventRecord] = []
    while page := await store.list_events(1, after=len(read), limit=limit):
        assert len(page) <= limit
        read += page
    assert tuple(read) == whole


async def test_the_events_of_what_is_pruned_go_with_it(store: SqliteStore) -> None:
    created = create()
    ended = created.dag._replace(state=State.SUCCEED)
    await commit_one(store, batch_of(created, *begun(created)[1:]))
    await commit_one(store, batch_of(line_of(created, "a line", attempt_no=1)))
    await commit_one(store, batch_of(DagChanged(created.dag, ended)))
    await commit_one(store, batch_of(create(2), dag_id=2))
    await prune(store, Retention(max_count=1))
    assert await store.list_events(1, after=0, limit=9) == ()
    assert len(await store.list_events(2, after=0, limit=9)) == 1


async def test_an_idempotency_key_makes_one_dag_and_goes_with_it(store: SqliteStore) -> None:
    created, key = create(), IdempotencyKey("k", "digest")
    assert await store.find_key("k") is None
    assert await commit_one(store, batch_of(created, KeyUsed(key, 1))) is None
    assert await store.find_key("k") == ("digest", 1)
    again = await commit_one(store, batch_of(create(2), KeyUsed(key, 2), dag_id=2))
    assert isinstance(again, StaleWrite)
    assert await store.load_dag(2) is None
    ended = created.dag._replace(state=State.SUCCEED)
    await commit_one(store, batch_of(DagChanged(created.dag, ended)))
    await commit_one(store, batch_of(create(3), dag_id=3))
    await prune(store, Retention(max_count=1))
    assert await store.find_key("k") is None


async def test_lines_of_an_older_version_are_numbered_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    for number, name in list_migrations()[:2]:
        connection.executescript(read_sql(f"migrations/{name}"))
        connection.execute(f"PRAGMA user_version = {number:d}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    for dag_id in (1, 2):
        connection.execute(
            "INSERT INTO dag VALUES (?, 'op', 1, '{}', '[]', 1, 1, 'FAILED', 'RUN', NULL, 0, 1, 1,"
            " 1, 0, NULL)",
            (dag_id,),
        )
        connection.execute(
            "INSERT INTO node VALUES (?1, ?1, 1, 'one', 'normal', 0, 'FAILED', 'RUN', 1, 1)",
            (dag_id,),
        )
        connection.execute(
            "INSERT INTO sub_task VALUES (?1, ?1, ?1, 1, NULL, 'FAILED', 'RUN', 1, 1, 1, 1, NULL,"
            " NULL, '')",
            (dag_id,),
        )
    for number in range(6):
        connection.execute(
            "INSERT INTO log VALUES (NULL, ?, 1, 1, ?, 1)", (1 + number % 2, f"line {number}")
        )
    connection.close()
    store = SqliteStore(path)
    await store.open()
    events = await store.list_events(2, after=0, limit=9)
    await store.close()
    lines = [
        (event.seq, event.what.content) for event in events if isinstance(event.what, LogRecord)
    ]
    assert lines == [(1, "line 1"), (2, "line 3"), (3, "line 5")]


# --- migrations ------------------------------------------------------------------------------


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Everything in the schema, without comments and spacing."""
    found = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return sorted((kind, name, plain(sql)) for kind, name, sql in found)


def plain(sql: str) -> str:
    words = " ".join(line.split("--")[0] for line in sql.splitlines()).split()
    # SQLite quotes the name of a table that a migration renamed.
    return " ".join(words).replace("( ", "(").replace(" )", ")").replace(" ,", ",").replace('"', "")


async def test_the_schema_file_is_the_sum_of_the_migrations(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    await store.close()
    migrated, written = sqlite3.connect(store.path), sqlite3.connect(":memory:")
    written.executescript(read_sql("schema.sql"))
    assert schema_of(migrated) == schema_of(written)
    assert migrated.execute("PRAGMA user_version").fetchone() == (list_migrations()[-1][0],)
    migrated.close()
    written.close()


async def test_a_store_of_an_older_schema_keeps_its_rows_and_references(
    tmp_path: Path,
) -> None:
    """Migrations that swap tables lose nothing, and what refers to them still does."""
    path = tmp_path / "store.sqlite"
    old = sqlite3.connect(path, isolation_level=None)
    for number, name in list_migrations()[:2]:
        old.executescript(read_sql(f"migrations/{name}"))
        old.execute(f"PRAGMA user_version = {number}")
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute(
        "INSERT INTO dag VALUES (1, 'op', 1, '{}', '[]', 1, 1, 'RUNNING', 'RUN', NULL, 0,"
        " 1, 1, 1, 0, NULL)"
    )
    old.execute("INSERT INTO node VALUES (1, 1, 1, 'one', 'normal', 31, 'RUNNING', 'RUN', 1, 1)")
    old.execute(
        "INSERT INTO sub_task VALUES"
        " (1, 1, 1, 1, NULL, 'RUNNING', 'RUN', 2, 2, 5, 5, NULL, NULL, '')"
    )
    old.execute("INSERT INTO attempt VALUES (1, 1, 'Failed', 'x', 1, 2), (1, 2, NULL, NULL, 5, 5)")
    old.close()
    store = SqliteStore(path)
    await store.open()
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.sub_tasks[0].attempt_no == 2
    attempts = await store.find_attempts(1)
    assert [(a.attempt_no, a.outcome) for a in attempts] == [(1, "Failed"), (2, None)]
    with pytest.raises(StoreUnusable, match="FOREIGN KEY"):
        await store._open_writer.call(methodcaller("execute", "DELETE FROM dag"))
    await store.close()
    seen = sqlite3.connect(path)
    assert seen.execute("PRAGMA foreign_key_check").fetchall() == []
    assert seen.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    seen.close()
