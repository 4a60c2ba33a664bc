"""Statements of both dialects, settings and literals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagengine.errors import ConfigError
from dagengine.store.changes import DAG_COLUMNS, GUARDED, NODE_COLUMNS, SUB_TASK_COLUMNS
from dagengine.store.credentials import SESSION_COLUMNS, TOKEN_COLUMNS
from dagengine.store.mysql.connection import Dialect, find_different, session_variables
from dagengine.store.mysql.settings import MysqlSettings, SessionLimits, parse_store_url
from dagengine.store.mysql.statements import PACKETS, QUERIES, render_literal, render_values
from dagengine.store.sqlite.queries import QUERIES as SQLITE_QUERIES

NUMBERED = {"insert_log": {"log_id", "seq", "dag_id"}, "insert_audit": {"audit_id"}}
COLUMNS = {write.query: write.columns for write in GUARDED.values()} | {
    "insert_dag": DAG_COLUMNS,
    "insert_node": NODE_COLUMNS,
    "insert_sub_task": SUB_TASK_COLUMNS,
    "insert_token": TOKEN_COLUMNS,
    "insert_session": SESSION_COLUMNS,
}


WITHOUT_OWNER = {"take_audit_id", "insert_audit_ids"}
"""Numbers of audit rows that are written without ownership; SQLite assigns them itself."""


def test_dialects_have_same_query_names() -> None:
    assert set(QUERIES) - WITHOUT_OWNER == set(SQLITE_QUERIES)
    assert not set(PACKETS) & set(QUERIES)


@pytest.mark.parametrize("name", COLUMNS)
def test_query_uses_all_columns_of_its_rows(name: str) -> None:
    used = set(re.findall(r"\bv\.(\w+)", QUERIES[name]))
    assert used == set(COLUMNS[name]) | NUMBERED.get(name, set())


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_query_is_of_one_cluster(name: str) -> None:
    for statement in QUERIES[name].split("; "):
        if statement not in ("BEGIN", "COMMIT"):
            assert ":cluster" in statement


@given(st.one_of(st.text(), st.binary()))
def test_literal_has_no_character_of_its_text(value: str | bytes) -> None:
    assert re.fullmatch(r"x'([0-9a-f]{2})+'|''", render_literal(value))


def test_literal_of_other_type_is_refused() -> None:
    for value in ({}, 1.5, object()):
        with pytest.raises(TypeError):
            render_literal(value)
    with pytest.raises(OverflowError):
        render_literal(1 << 63)
    with pytest.raises(TypeError, match="name"):
        render_values(("name",), (None,))
    assert render_values(("lock_key",), (None,)) == ["NULL"]


def test_settings_are_parsed_and_hide_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n", encoding="utf-8")
    settings = parse_store_url("mysql://d%40g@[::1]:2883/my_db", password_file=file)
    assert settings == MysqlSettings("::1", 2883, "d@g", "my_db", "secret")
    assert "secret" not in f"{settings!r} {settings}"
    assert parse_store_url("mysql://dag@localhost/x").port == 2881
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="first line"):
        parse_store_url("mysql://dag@localhost/x", password_file=file)


def test_limits_do_not_exceed_lease() -> None:
    assert MysqlSettings("h", 1, "u", "d", lease_s=2.0).limits.transaction_s == 2.0
    assert MysqlSettings("h", 1, "u", "d", lease_s=60.0).limits.transaction_s == 2.0


@pytest.mark.parametrize("dialect", Dialect)
def test_different_variable_is_found(dialect: Dialect) -> None:
    wanted = session_variables(dialect, SessionLimits())
    values = list(wanted.values())
    assert find_different(wanted, values) is None
    for position, name in enumerate(wanted):
        changed = [*values[:position], 12345, *values[position + 1 :]]
        assert find_different(wanted, changed) == (name, 12345)
