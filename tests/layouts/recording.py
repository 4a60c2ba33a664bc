"""A recording of a home: every path with its metadata, and the contents that decisions need."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"
ROOT = "@ROOT@"  #: the directory that contains the home and everything outside it
PROGRAM = "@PROGRAM@"  #: the seekdb program
PID = "@PID@"  #: the pid of a server that has ended


class Kind(StrEnum):
    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"
    SOCKET = "socket"


class Encoding(StrEnum):
    TEXT = "text"
    ZLIB = "zlib+base64"
    LINES = "lines"  #: a log with only some of its lines, each with its offset


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a recording.

    Attributes:
        path: relative to the root.
        mode: permissions, octal.
        size: size of a file in bytes.
        mtime_s: seconds after the oldest path of the recording; gives the order.
        target: target of a link, with placeholders.
        encoding: encoding of the content; None if only the size is known.
        content: text, base64, or JSON pairs of offset and line.
    """

    path: str
    kind: Kind
    mode: str
    mtime_s: float
    size: int = 0
    target: str | None = None
    encoding: Encoding | None = None
    content: Any = None

    def read_bytes(self) -> bytes:
        """Return the recorded content of a file that is recorded completely."""
        if self.encoding is Encoding.ZLIB:
            return zlib.decompress(base64.b64decode(self.content))
        return str(self.content or "").encode()


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """The server's entry in the cluster file of the case; paths begin with the root."""

    home: str
    flavour: str = "seekdb"
    data_dir: str | None = None
    redo_dir: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One layout.

    Attributes:
        origin: `seekdb`, or `composed` for files that no program of the wheel writes.
        version: version of the program; empty if composed.
        real_home: the real home; the cluster file may name a link to it.
        recorded_root: prefix of the paths in meta.db.
        sql_port: port of the recorded server; None unless a readable meta.db has it.
        parameters: `mysql_port`, `data_dir` and `redo_dir` in meta.db, for readers of the file.
        is_read_only: the case needs a file system that is mounted read-only.
        expected: the decision about this layout, by action; written by hand.
    """

    name: str
    description: str
    origin: str
    version: str
    real_home: str
    recorded_root: str
    cluster_file: ClusterFile
    entries: tuple[Entry, ...]
    sql_port: int | None = None
    parameters: dict[str, str] = dataclasses.field(default_factory=dict)
    is_read_only: bool = False
    expected: dict[str, Any] = dataclasses.field(default_factory=dict)


def recording_names() -> list[str]:
    """Return the names of all recordings, sorted."""
    return sorted(path.stem for path in RECORDINGS.glob("*.json"))


def read_recording(name: str, directory: Path = RECORDINGS) -> Recording:
    """Return one recording."""
    fields = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
    entries = tuple(_parse_entry(entry) for entry in fields.pop("entries"))
    cluster_file = ClusterFile(**fields.pop("cluster_file"))
    return Recording(**fields, cluster_file=cluster_file, entries=entries)


def write_recording(recording: Recording, directory: Path) -> None:
    """Write one recording; keep the expectations of an existing file."""
    path = directory / f"{recording.name}.json"
    fields = dataclasses.asdict(recording)
    if path.exists():
        fields["expected"] = json.loads(path.read_text(encoding="utf-8"))["expected"]
    entries = [
        {key: value for key, value in entry.items() if value is not None}
        for entry in fields.pop("entries")
    ]
    # One line for each entry: a changed file is one changed line.
    lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    head = json.dumps(fields, indent=1, ensure_ascii=False).removesuffix("\n}")
    path.write_text(f'{head},\n "entries": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


def _parse_entry(fields: dict[str, Any]) -> Entry:
    encoding = fields.pop("encoding", None)
    return Entry(
        **{**fields, "kind": Kind(fields["kind"])},
        encoding=Encoding(encoding) if encoding else None,
    )
