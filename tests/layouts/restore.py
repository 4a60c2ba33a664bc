"""Restore a recorded home, for tests of the product's decisions about it.

restored = restore(read_recording("data_elsewhere"), tmp_path)
server = make_server(home=restored.cluster_file.home, data_dir=restored.cluster_file.data_dir)
"""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.layouts.recording import (
    PID,
    PROGRAM,
    ROOT,
    ClusterFile,
    Encoding,
    Entry,
    Kind,
    Recording,
)

_NO_PID = 4_194_305  # above the largest pid of Linux
_OLDEST_S = 1_767_225_600  # 2026-01-01: the restored paths are older than the files of a test
_FILLER = b"." * 199 + b"\n"


@dataclass(frozen=True, slots=True)
class RestoredHome:
    """A recorded home on this machine.

    Attributes:
        root: contains the home and the directories outside it.
        home: the real home; `cluster_file.home` may be a link.
        cluster_file: the cluster file of the case, with paths of this machine.
    """

    recording: Recording
    root: Path
    home: Path
    cluster_file: ClusterFile

    def list_paths(self) -> list[str]:
        """Return every path below the root with its type, size and link target."""
        return sorted(_describe(self.root, path) for path in self.root.rglob("*"))


def restore(
    recording: Recording, directory: Path, *, program: Path | None = None, pid: int = _NO_PID
) -> RestoredHome:
    """Restore a recording below a new directory.

    Files have the recorded size, most of them as holes. Paths in meta.db, telemetry, links and logs
    are adapted to the new directory.

    Args:
        recording: the layout.
        directory: becomes the root; must be missing or empty.
        program: the seekdb program for the links in bin/ and run/. Without one they
            point to a script next to the root that fails.
        pid: content of the pid file. By default a pid that is not in use.
    """
    directory.mkdir(parents=True, exist_ok=True)
    root = directory.resolve()
    texts = {ROOT: str(root), PID: str(pid), PROGRAM: str(program or _make_program(root))}
    for entry in recording.entries:
        _restore_entry(root, entry, texts)
    for database in root.rglob("meta.db"):
        _replace_paths(database, recording.recorded_root, str(root))
    for entry in reversed(recording.entries):  # a directory after its content
        _restore_metadata(root / entry.path, entry)
    cluster_file = recording.cluster_file
    return RestoredHome(
        recording=recording,
        root=root,
        home=Path(_fill(recording.real_home, texts)),
        cluster_file=ClusterFile(
            home=_fill(cluster_file.home, texts),
            flavour=cluster_file.flavour,
            data_dir=cluster_file.data_dir and _fill(cluster_file.data_dir, texts),
            redo_dir=cluster_file.redo_dir and _fill(cluster_file.redo_dir, texts),
        ),
    )


@contextmanager
def mount_read_only(directory: Path) -> Iterator[None]:
    """Make a directory read-only for root too; needs root."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def _restore_entry(root: Path, entry: Entry, texts: dict[str, str]) -> None:
    path = root / entry.path
    match entry.kind:
        case Kind.DIRECTORY:
            path.mkdir()
        case Kind.LINK:
            path.symlink_to(_fill(entry.target or "", texts))
        case Kind.SOCKET:
            os.mknod(path, stat.S_IFSOCK | int(entry.mode, 8))
        case Kind.FILE if entry.encoding is Encoding.LINES:
            _write_log(path, entry, texts)
        case Kind.FILE if entry.encoding is Encoding.TEXT:
            path.write_bytes(_fill(entry.content, texts).encode())
        case Kind.FILE if entry.encoding is Encoding.ZLIB:
            path.write_bytes(entry.read_bytes())
        case Kind.FILE:
            with path.open("wb") as file:
                file.truncate(entry.size)


def _write_log(path: Path, entry: Entry, texts: dict[str, str]) -> None:
    """Write the recorded lines at their offsets, and lines of dots between them."""
    with path.open("wb") as file:
        for offset, line in [*entry.content, (entry.size, "")]:
            gap = offset - file.tell()
            if gap > 0:
                file.write(b"." * (gap % len(_FILLER) - 1) + b"\n" if gap % len(_FILLER) else b"")
                file.write(_FILLER * (gap // len(_FILLER)))
            if line:
                file.write(_fill(line, texts).encode() + b"\n")


def _replace_paths(database: Path, recorded_root: str, root: str) -> None:
    """Set the restored directories as parameters; leave a database without them unchanged."""
    # Immutable: otherwise a reader would leave -wal and -shm files next to the database.
    with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        try:
            statement = "SELECT count(*) FROM __all_sys_parameter WHERE instr(value, ?) = 1"
            (count,) = connection.execute(statement, (recorded_root,)).fetchone()
        except sqlite3.DatabaseError:
            count = 0
    if count:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(
                "UPDATE __all_sys_parameter SET value = ? || substr(value, ?)"
                " WHERE instr(value, ?) = 1",
                (root, len(recorded_root) + 1, recorded_root),
            )
            connection.commit()


def _restore_metadata(path: Path, entry: Entry) -> None:
    if entry.kind is not Kind.LINK:
        path.chmod(int(entry.mode, 8))
    mtime_ns = _OLDEST_S * 10**9 + round(entry.mtime_s * 10**9)
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def _make_program(root: Path) -> Path:
    program = root.with_name(f"{root.name}-program") / "seekdb"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def _fill(text: str, texts: dict[str, str]) -> str:
    for placeholder, value in texts.items():
        text = text.replace(placeholder, value)
    return text


def _describe(root: Path, path: Path) -> str:
    name = path.relative_to(root).as_posix()
    if path.is_symlink():
        return f"{name} -> {path.readlink()}"
    if path.is_file():
        return f"{name} {path.stat().st_size}"
    return f"{name}/" if path.is_dir() else f"{name}="
