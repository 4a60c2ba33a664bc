"""Texts of hosts in a shared store on a real seekdb: every byte and kind of code point, sizes."""

from __future__ import annotations

import pytest

from dagengine.errors import NotSerializable
from dagengine.model.changes import SubTaskChanged
from dagengine.store.mysql.store import MysqlStore
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of
from tests.support.store_databases import StoreDatabase

TEXTS = {
    "empty": "",
    "every byte as a code point": "".join(map(chr, range(256))),
    "quotes": """' " ` \\' \\" -- # /* */ ; '; DROP TABLE dag; --""",
    "placeholders": ":cluster :rows :limit %s ? {0} @bad",
    "spaces at the end": "text   ",
    "line ends": "a\r\nb\rc\nd\u2028e\u2029f",
    "edges of UTF-8": "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    "not characters": "\ufdd0\ufffe\uffff\ufeff",
    "combined": "e\u0301 \U0001f468\u200d\U0001f469 \u202eabc",
    "NUL": "a\0b\0",
    "hexadecimal": "x'41'",
}


@pytest.mark.parametrize("name", TEXTS)
async def test_store_text_is_kept(seekdb_database: StoreDatabase, name: str) -> None:
    text, store = TEXTS[name], await seekdb_database.make_store()
    await store.open()
    created = create()
    created_dag = created.dag._replace(params={"x": text}, targets=(text, "b"))
    task = created.sub_tasks[0]
    changed = task._replace(summary=text, evidence={text: text}, data={"x": [text]})
    batch = batch_of(SubTaskChanged(task, changed), line_of(created, text))
    whole = batch_of(created.__class__(created_dag, created.nodes, created.sub_tasks))
    assert await commit_one(store, whole) is None
    assert await commit_one(store, batch) is None
    rows = await store.load_dag(1)
    assert rows is not None
    assert rows.dag == created_dag
    assert rows.sub_tasks[0] == changed
    assert [line.content for line in await store.find_logs(task.sub_task_id)] == [text]
    await store.pin("key", text)
    assert await store.pin("key", "other") == text
    await store.reserve([(bytes(range(64)), NOW)], delete_before=None)
    assert list(await store.load_reserved()) == [(bytes(range(64)), NOW)]
    await store.close()


async def test_store_keys_differ_by_case_and_spaces(seekdb_database: StoreDatabase) -> None:
    store = await seekdb_database.make_store()
    await store.open()
    for key in ("a", "A", "a ", "a  ", "á"):
        assert await store.pin(key, key) == key
    await store.close()


@pytest.mark.parametrize("length", [8_000, 40_000, 70_000, 1_000_000])
@pytest.mark.parametrize("others", [0, 20])
async def test_store_long_text_is_kept(
    seekdb_database: StoreDatabase, length: int, others: int
) -> None:
    await check_long_texts(seekdb_database, length, others)


@pytest.mark.slow
@pytest.mark.parametrize("length", [8_000, 40_000, 70_000, 1_000_000])
async def test_store_long_text_is_kept_by_mariadb(
    mariadb_database: StoreDatabase, length: int
) -> None:
    """In a UNION, MariaDB 10.11 cuts a value of more than 65,535 bytes without an error."""
    await check_long_texts(mariadb_database, length, 20)


async def check_long_texts(database: StoreDatabase, length: int, others: int) -> None:
    store: MysqlStore = await database.make_store()
    await store.open()
    created = create()
    assert await commit_one(store, batch_of(created)) is None
    texts = ["short", "ü" * length, *(str(number) for number in range(others)), "x" * length]
    results = await store.commit([batch_of(line_of(created, text)) for text in texts])
    assert results == [None] * len(texts)
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == texts
    await store.close()


async def test_store_splits_groups_beyond_packet_size(seekdb_database: StoreDatabase) -> None:
    store = await seekdb_database.make_store()
    await store.open()
    created = create()
    assert await commit_one(store, batch_of(created)) is None
    before = store.commit_count
    texts = [str(number) * 1_500_000 for number in range(8)]
    assert await store.commit([batch_of(line_of(created, text)) for text in texts]) == [None] * 8
    assert store.commit_count - before == 2
    lines = await store.find_logs(created.sub_tasks[0].sub_task_id)
    assert [line.content for line in lines] == texts
    huge = batch_of(*(line_of(created, text) for text in texts))
    refused, written = await store.commit([huge, batch_of(line_of(created, "good"))])
    assert isinstance(refused, NotSerializable)
    assert written is None
    await store.close()
