"""Reader of meta.db, a server's own record of its parameters: fetched over SSH, untrusted."""

from __future__ import annotations

import asyncio
import base64
import binascii
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from dagengine.remote import Runner
from tasks.hosts import messages
from tasks.hosts.commands import directories_command, read_file_command
from tasks.hosts.facts import parse_directories
from tasks.hosts.home_state import Directory, HomeFiles, Place, StoredParameters
from tasks.hosts.output import last_value, number_value, parse_lines
from tasks.hosts.query import run_query

LIMIT_BYTES = 4 << 20
"""Maximum size of meta.db. Measured: 45 KB after a first boot, about 60 bytes per tablet."""

_PART_BYTES = 600_000  # base64 of this fits into the runner's output limit
_STEPS = 1_000_000  # of SQLite's virtual machine; the query needs a few hundred
_RECORDS = ("store/sstable/meta.db", "etc/meta.db")
# Source: docs/concepts/flavours.md, "Evidence that remains".
_LAST_ROWS = (
    "enable_record_trace_log",
    "_enable_dbms_job_package",
    "_bloom_filter_ratio",
    "_enable_mysql_compatible_dates",
)
_NAMES = ("mysql_port", "data_dir", "redo_dir", *_LAST_ROWS)
_LONGEST_VALUE = 4096


@dataclass(frozen=True, slots=True)
class MetaDb:
    """A copy of the database file and of its write-ahead log, empty if there is none."""

    database: bytes
    wal: bytes


class MetaDbUnreadable(Exception):
    """Raised when meta.db cannot be fetched or read; `reason` is a text for operators."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MetaDbEmpty(MetaDbUnreadable):
    """Raised when meta.db has no table at all, which is its state after an interrupted boot."""


async def fetch_parameters(runner: Runner, path: str) -> StoredParameters:
    """Fetch meta.db from a host and read its parameters.

    Raises:
        MetaDbUnreadable: it is too large, damaged, or not a database of seekdb.
        RemoteError: the host does not answer.
    """
    database = await _fetch(runner, path)
    wal = await _fetch(runner, f"{path}-wal", may_be_missing=True)
    return await asyncio.to_thread(read_parameters, MetaDb(database, wal))


async def add_parameters(runner: Runner, home: str, files: HomeFiles) -> HomeFiles:
    """Add the server's own parameters to the facts of a home, if it has a record of them.

    Raises:
        RemoteError: the host does not answer.
    """
    names = [name for name in _RECORDS if name in files.configuration]
    if not names:
        return files
    path = f"{home}/{names[0]}"
    try:
        parameters = await fetch_parameters(runner, path)
    except MetaDbUnreadable as exc:
        problem = messages.RECORD_UNREADABLE(path=path, reason=exc.reason)
        is_empty = isinstance(exc, MetaDbEmpty)
        return replace(files, parameters_problem=problem, is_record_empty=is_empty)
    directories = {Place.DATA: parameters.data_dir, Place.REDO: parameters.redo_dir}
    named = {place: path for place, path in directories.items() if path is not None}
    places: Mapping[Place, Directory] = {}
    if named:
        output = (await run_query(runner, directories_command(home, named), may_fail=True)).stdout
        if "end=yes" not in output:
            problem = messages.RECORD_DIRECTORY_UNANSWERED(
                path=path, directories=", ".join(named.values())
            )
            return replace(files, parameters_problem=problem)
        places = parse_directories(output)
    return replace(files, parameters=parameters, stored_places=places)


def read_parameters(copy: MetaDb) -> StoredParameters:
    """Read the parameters from a copy of meta.db. Blocks; reads a bounded amount.

    Raises:
        MetaDbUnreadable: it is damaged, or not a database of seekdb.
    """
    with tempfile.TemporaryDirectory(prefix="dagengine-meta-") as directory:
        file = Path(directory, "meta.db")
        file.write_bytes(copy.database)
        if copy.wal:
            Path(f"{file}-wal").write_bytes(copy.wal)
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
                rows = _select(connection)
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            raise MetaDbUnreadable(messages.RECORD_NOT_DATABASE(error=exc)) from exc
    values = {str(name): value for name, value in rows if isinstance(value, str)}
    if not all(value.isprintable() for value in values.values()):
        raise MetaDbUnreadable(messages.RECORD_CONTROL_CHARACTERS())
    return StoredParameters(
        sql_port=_parse_port(values.get("mysql_port")),
        data_dir=values.get("data_dir") or None,
        redo_dir=values.get("redo_dir") or None,
        boot_completed=values.keys() >= set(_LAST_ROWS),
    )


def _select(connection: sqlite3.Connection) -> list[tuple[object, object]]:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 20)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.set_progress_handler(lambda: 1, _STEPS)
    # Views, virtual tables and generated columns would run expressions from the file.
    tables = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE name = '__all_sys_parameter'"
        " AND type = 'table' AND sql LIKE 'CREATE TABLE %'"
    ).fetchone()
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        raise MetaDbEmpty(messages.RECORD_TABLE_MISSING())
    if tables != (1,):
        raise MetaDbUnreadable(messages.RECORD_TABLE_MISSING())
    columns = connection.execute("PRAGMA table_xinfo(__all_sys_parameter)").fetchall()
    if any(hidden for *_, hidden in columns):
        raise MetaDbUnreadable(messages.RECORD_COLUMNS_GENERATED())
    marks = ", ".join("?" * len(_NAMES))
    return connection.execute(
        f"SELECT name, value FROM __all_sys_parameter WHERE name IN ({marks})"  # noqa: S608
        f" AND length(value) <= {_LONGEST_VALUE} LIMIT {len(_NAMES)}",
        _NAMES,
    ).fetchall()


def _parse_port(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise MetaDbUnreadable(messages.RECORD_PORT_INVALID())
    return int(text)


async def _fetch(runner: Runner, path: str, *, may_be_missing: bool = False) -> bytes:
    content = bytearray()
    while True:
        command = read_file_command(path, len(content), _PART_BYTES)
        values = parse_lines((await run_query(runner, command, may_fail=True)).stdout)
        if last_value(values, "end") != "yes":
            raise MetaDbUnreadable(messages.RECORD_READ_TIMEOUT())
        size = number_value(values, "size")
        if size is None:
            if may_be_missing:
                return b""
            raise MetaDbUnreadable(messages.RECORD_NOT_PERMITTED())
        if size > LIMIT_BYTES:
            raise MetaDbUnreadable(messages.RECORD_TOO_LARGE(size=size, limit=LIMIT_BYTES))
        try:
            part = base64.b64decode(last_value(values, "data"), validate=True)
        except binascii.Error as exc:
            raise MetaDbUnreadable(messages.RECORD_TRANSFER_DAMAGED()) from exc
        content += part
        if len(content) == size:
            return bytes(content)
        if len(part) != _PART_BYTES or len(content) > size:
            raise MetaDbUnreadable(messages.RECORD_TRANSFER_DAMAGED())
