"""The generated tables of configuration keys, and the man page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dagengine.cli.exit_codes import ExitCode
from dagengine.server.config import (
    ApiConfig,
    ClusterEntry,
    EngineConfig,
    ServiceConfig,
    StoreConfig,
)
from docs.config_tables import render_cluster_keys, render_engine_keys
from docs.man_page import render_man_page
from tasks.cluster.schema import FileSchema, ServerEntry, StopSection
from tasks.cluster.ssh_section import SshSection

ROOT = Path(__file__).parents[3]


def rows_of(tables: str) -> list[list[str]]:
    lines = [line for line in tables.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(
    ("tables", "models"),
    [
        (render_engine_keys(), (EngineConfig, ApiConfig, StoreConfig, ClusterEntry, ServiceConfig)),
        (render_cluster_keys(), (FileSchema, ServerEntry, SshSection, StopSection)),
    ],
    ids=["engine file", "cluster file"],
)
def test_tables_have_a_meaning_for_each_key(tables: str, models: tuple[type, ...]) -> None:
    rows = rows_of(tables)
    assert {len(row) for row in rows} == {5}
    assert [row for row in rows if not row[4]] == []
    keys = {row[0].strip("`") for row in rows}
    assert {key for model in models for key in model.model_fields} <= keys  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("key", "row"),
    [
        (
            "port",
            ["no", "2886", "whole number, at least 1, at most 65535", "TCP port to listen on"],
        ),
        ("keep_days", ["no", "90", "number, above 0, days"]),
        ("file", ["yes", "", "path", "path of the cluster file"]),
        ("clusters", ["no", "empty", "map", "the clusters by name"]),
    ],
)
def test_engine_key_has_default_range_and_unit(key: str, row: list[str]) -> None:
    rows = [cells[1:] for cells in rows_of(render_engine_keys()) if cells[0] == f"`{key}`"]
    assert rows[0][: len(row)] == row


def test_optional_ports_have_their_range() -> None:
    kinds = [cells[3] for cells in rows_of(render_engine_keys()) if cells[0] == "`port`"]
    assert kinds == ["whole number, at least 1, at most 65535"] * 3


@pytest.mark.parametrize("tables", [render_engine_keys(), render_cluster_keys()])
def test_tables_name_no_values_of_python(tables: str) -> None:
    assert re.findall(r"\bNone\b|\bTrue\b|NO_SOCKET|\w+Config\b", tables) == []


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("zones", ["yes", "", "map"]),
        ("connect_timeout_s", ["no", "10", "number, above 0, at most 300, seconds"]),
        ("sql_port", ["no", "2881", "whole number, at least 1, at most 65535"]),
        ("via", ["no", "`ssh`", "`ssh` or `direct`"]),
    ],
)
def test_cluster_key_has_default_range_and_unit(key: str, row: list[str]) -> None:
    (found,) = (cells[1:] for cells in rows_of(render_cluster_keys()) if cells[0] == f"`{key}`")
    assert found[: len(row)] == row


def test_man_page_has_commands_options_and_exit_codes() -> None:
    page = render_man_page()
    for command in ("serve", "start", "stop", "backup", "doctor", "hosts", "demo"):
        assert re.search(rf'^\.SS "{command}[ "]', page, re.MULTILINE), command
    assert r".B \-\-zone ZONE" in page
    codes = re.findall(r"^\.B (\d+)$", page, re.MULTILINE)
    assert codes == [str(int(code)) for code in ExitCode]
    assert page.isascii()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_man_page_is_formatted_without_warnings(tmp_path: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", ROOT / "docs/man/dagengine.1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "DAGENGINE(1)" in done.stdout
