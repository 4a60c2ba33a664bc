"""Recordings restore unchanged, and the installed seekdb still creates the same files."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.layouts.layouts import LAYOUTS
from tests.layouts.record import record
from tests.layouts.recording import (
    RECORDINGS,
    ROOT,
    Encoding,
    Entry,
    Kind,
    Recording,
    read_recording,
    recording_names,
    write_recording,
)
from tests.layouts.restore import RestoredHome, restore
from tests.layouts.scan import read_parameters

_MAX_BYTES = 1_500_000
# They end at a fixed step, need no root, and cover first boots and failures, in and outside a home.
_RECORDED_AGAIN = ("by_hand_absolute", "completed_boot_obd", "data_not_mounted", "failed_log_disk")
# docs/concepts/flavours.md, "Evidence that remains".
_LAST_ROWS = {
    "enable_record_trace_log",
    "_enable_dbms_job_package",
    "_bloom_filter_ratio",
    "_enable_mysql_compatible_dates",
}
_NEVER_BOOTED = {
    *("half_initialised", "half_initialised_restarted", "killed_early"),
    *("failed_log_disk", "failed_disk_full"),
    *(name for name, layout in LAYOUTS.items() if layout.origin == "composed"),
}
_LOST_META_DB = {"store_link_empty", "store_link_dangling"}
# Transient files of SQLite.
_TRANSIENT = re.compile(r"meta\.db-(wal|shm|journal)$")
# The size of logs varies between runs; a start that dies fast may lose a part of its log.
_VARYING = re.compile(r"(seekdb\.log|meta\.db|slog/\w+/\d+|\.pid|telemetry\.json)$")


def test_recordings_belong_to_layouts() -> None:
    assert recording_names() == sorted(LAYOUTS)


def test_recordings_in_total_stay_small() -> None:
    assert sum(path.stat().st_size for path in RECORDINGS.iterdir()) < _MAX_BYTES


@pytest.mark.parametrize("name", recording_names())
def test_restore_gives_every_recorded_path(name: str, tmp_path: Path) -> None:
    recording = read_recording(name)
    restored = restore(recording, tmp_path / "root")
    assert _find_differences(recording, restored) == []


@pytest.mark.parametrize("name", recording_names())
def test_restore_puts_new_paths_into_meta_db(name: str, tmp_path: Path) -> None:
    recording = read_recording(name)
    restored = restore(recording, tmp_path / "root")
    parameters = read_parameters(restored.home)
    with_placeholders = {
        key: value.replace(str(restored.root), ROOT) for key, value in parameters.items()
    }
    assert with_placeholders == recording.parameters


def test_restore_keeps_order_of_times(tmp_path: Path) -> None:
    recording = read_recording("by_hand_absolute")
    restored = restore(recording, tmp_path / "root")
    by_time = sorted(recording.entries, key=lambda entry: entry.mtime_s)
    times = [(restored.root / entry.path).lstat().st_mtime_ns for entry in by_time]
    assert times == sorted(times)


def test_restore_puts_log_lines_at_their_offsets(tmp_path: Path) -> None:
    recording = read_recording("by_hand_absolute")
    restored = restore(recording, tmp_path / "root")
    log = (restored.home / "log/seekdb.log").read_bytes()
    (entry,) = (entry for entry in recording.entries if entry.encoding is Encoding.LINES)
    (last,) = ((at, line) for at, line in entry.content if "[server_start 14/14]" in line)
    assert log[last[0] :].startswith(last[1][:40].encode())
    assert b"\0" not in log


def test_restore_of_backup_needs_wal(tmp_path: Path) -> None:
    restored = restore(read_recording("restored_from_backup"), tmp_path / "root")
    database = restored.home / "store/sstable/meta.db"
    statement = "SELECT count(*) FROM __all_sys_parameter WHERE name = 'redo_dir'"
    with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        assert connection.execute(statement).fetchone() == (0,)
    assert read_parameters(restored.home)["redo_dir"] == "store/redo"


def test_recordings_last_boot_rows_imply_complete_boot(tmp_path: Path) -> None:
    complete = {name for name in recording_names() if _has_last_rows(name, tmp_path / name)}
    assert complete & _NEVER_BOOTED == set()
    assert set(recording_names()) - complete == _NEVER_BOOTED | _LOST_META_DB


def test_write_recording_keeps_expectations(tmp_path: Path) -> None:
    shutil.copy(RECORDINGS / "never_started.json", tmp_path)
    path = tmp_path / "never_started.json"
    path.write_text(re.sub(r'"expected": {[^}]*}', '"expected": {"start": "x"}', path.read_text()))
    write_recording(read_recording("never_started"), tmp_path)
    assert read_recording("never_started", tmp_path).expected == {"start": "x"}


@pytest.mark.slow
@pytest.mark.parametrize("name", _RECORDED_AGAIN)
def test_installed_seekdb_creates_recorded_files(name: str) -> None:
    recreated = record(LAYOUTS[name])
    assert _list_files(recreated) == _list_files(read_recording(name))
    assert recreated.parameters.keys() == read_recording(name).parameters.keys()


def _find_differences(recording: Recording, restored: RestoredHome) -> list[str]:
    recorded = {entry.path: entry for entry in recording.entries}
    paths = {path.relative_to(restored.root).as_posix(): path for path in _walk(restored.root)}
    differences = sorted(recorded.keys() ^ paths.keys())
    for name in recorded.keys() & paths.keys():
        entry, status = recorded[name], paths[name].lstat()
        if entry.kind is not Kind.LINK and f"{status.st_mode & 0o7777:o}" != entry.mode:
            differences.append(f"{name}: mode {status.st_mode:o}")
        is_text = entry.encoding is Encoding.TEXT  # the pid, whose length varies
        is_file = entry.kind is Kind.FILE and not is_text and not name.endswith("meta.db")
        if is_file and status.st_size != entry.size:
            differences.append(f"{name}: {status.st_size} bytes instead of {entry.size}")
    return differences


def _has_last_rows(name: str, root: Path) -> bool:
    restored = restore(read_recording(name), root)
    database = restored.home / "store/sstable/meta.db"
    if not database.exists():
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT name FROM __all_sys_parameter").fetchall()
        except sqlite3.DatabaseError:
            return False
    return {row[0] for row in rows} >= _LAST_ROWS


def _walk(root: Path) -> list[Path]:
    return list(root.rglob("*"))


def _list_files(recording: Recording) -> list[str]:
    return sorted(_show(entry) for entry in recording.entries if not _TRANSIENT.search(entry.path))


def _show(entry: Entry) -> str:
    """Return one path as text, with its size if it is the same in each run."""
    name = re.sub(r"\.log\.\d+$", ".log.<time>", entry.path)
    size = "" if entry.kind is not Kind.FILE or _VARYING.search(entry.path) else f" {entry.size}"
    target = f" -> {entry.target}" if entry.target else ""
    return f"{entry.kind} {entry.mode} {name}{size}{target}"
