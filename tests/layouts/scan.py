"""Read a directory into the entries of a recording."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
import stat
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.layouts.recording import PID, Encoding, Entry, Kind

_MAX_INLINE_BYTES = 4096  # above the size of the files in etc/, run/ and similar
_DATABASE = re.compile(r"meta\.db(-wal|-journal)?")
_LOG = re.compile(r"(seekdb|observer)\.log(\.\d+)?")
_SEGMENT = re.compile(r"(redo|slog)/.*/\d+")  # data: the size is sufficient
_MAX_LINE_CHARACTERS = 320
_HEAD_LINES, _TAIL_LINES, _ERROR_LINES = 3, 12, 10
# Codes that every healthy start logs as well.
_NOISE = ("-4109", "-4023", "-4036")
_PARAMETERS = ("mysql_port", "data_dir", "redo_dir")


def scan(root: Path, placeholders: Mapping[str, str]) -> tuple[Entry, ...]:
    """Return every path below a root, sorted.

    Args:
        root: the directory; not part of the result.
        placeholders: texts in contents and link targets, with their replacements.
    """
    entries = [_read_entry(root, path, placeholders) for path in sorted(root.rglob("*"))]
    oldest_s = min((entry.mtime_s for entry in entries), default=0.0)
    return tuple(replace(entry, mtime_s=round(entry.mtime_s - oldest_s, 3)) for entry in entries)


def read_parameters(home: Path) -> dict[str, str]:
    """Return the directories and the port in a copy of the home's meta.db."""
    store = home / "store/sstable"
    with tempfile.TemporaryDirectory() as directory:
        for name in ("meta.db", "meta.db-wal"):
            if (store / name).is_file():
                shutil.copy(store / name, directory)
        copy = Path(directory) / "meta.db"
        if not copy.exists():
            return {}
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as database:
            try:
                rows = database.execute("SELECT name, value FROM __all_sys_parameter").fetchall()
            except sqlite3.DatabaseError:
                return {}
    return {name: value for name, value in sorted(rows) if name in _PARAMETERS}


def _read_entry(root: Path, path: Path, placeholders: Mapping[str, str]) -> Entry:
    status = path.lstat()
    entry = Entry(
        path=path.relative_to(root).as_posix(),
        kind=Kind.FILE,
        mode=f"{stat.S_IMODE(status.st_mode):o}",
        mtime_s=status.st_mtime,
    )
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFDIR:
            return replace(entry, kind=Kind.DIRECTORY)
        case stat.S_IFLNK:
            target = _hide(str(path.readlink()), placeholders)
            return replace(entry, kind=Kind.LINK, target=target)
        case stat.S_IFSOCK:
            return replace(entry, kind=Kind.SOCKET)
    encoding, content = _read_content(path, entry.path, placeholders)
    return replace(entry, size=status.st_size, encoding=encoding, content=content)


def _read_content(
    path: Path, name: str, placeholders: Mapping[str, str]
) -> tuple[Encoding | None, Any]:
    if _LOG.fullmatch(path.name):
        return Encoding.LINES, list(_read_log_lines(path.read_bytes(), placeholders))
    if _DATABASE.fullmatch(path.name):
        return Encoding.ZLIB, _compress(path.read_bytes())
    if path.stat().st_size > _MAX_INLINE_BYTES or _SEGMENT.search(name):
        return None, None
    content = path.read_bytes()
    if path.name.endswith(".pid"):
        return Encoding.TEXT, PID
    if path.name == "telemetry.json":
        return Encoding.TEXT, _anonymise(content)
    try:
        return Encoding.TEXT, _hide(content.decode(), placeholders)
    except UnicodeDecodeError:
        return Encoding.ZLIB, _compress(content)


def _read_log_lines(content: bytes, placeholders: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the first and last lines, those of the start's progress, and the first errors."""
    errors = 0
    lines = content.splitlines(keepends=True)
    offset = 0
    for number, line in enumerate(lines):
        code = re.search(rb"\[errcode=(-\d+)\]", line)
        is_error = code is not None and code[1].decode() not in _NOISE and errors < _ERROR_LINES
        errors += is_error
        is_edge = number < _HEAD_LINES or number >= len(lines) - _TAIL_LINES
        if is_edge or is_error or b"[server_start " in line:
            text = line.decode(errors="replace").rstrip("\n")[:_MAX_LINE_CHARACTERS]
            yield offset, _hide(text, placeholders)
        offset += len(line)


def _anonymise(content: bytes) -> str:
    """Return the telemetry without the values that identify the machine."""
    telemetry = json.loads(content)
    telemetry["content"]["id"] = "00000000-0000-0000-0000-000000000000"
    telemetry["content"]["instance"]["hostHash"] = "0" * 64
    telemetry["content"]["host"] = {"os": "linux", "cpu": "", "cpuCount": 2, "osVersion": ""}
    return json.dumps(telemetry)


def _hide(text: str, placeholders: Mapping[str, str]) -> str:
    for hidden, placeholder in placeholders.items():
        text = text.replace(hidden, placeholder)
    return text


def _compress(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()
