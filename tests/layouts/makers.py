"""How each layout comes about: what the real program is made to do, and in which directory."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.layouts.real_seekdb import (
    RealSeekdb,
    find_program,
    free_port,
    run_failing,
    size_options,
)
from tests.layouts.recording import ROOT, ClusterFile

_HOME = f"{ROOT}/home"


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout to record.

    Attributes:
        make: leaves the layout in the given directory, with no server running.
        real_home: relative to the directory.
        in_small_disk: the directory is a file system of 300 MB, which needs root.
    """

    name: str
    description: str
    make: Callable[[Path], None]
    cluster_file: ClusterFile = field(default_factory=lambda: ClusterFile(_HOME))
    real_home: str = "home"
    origin: str = "seekdb"
    in_small_disk: bool = False
    is_read_only: bool = False


def _prepare_home(root: Path, name: str = "home") -> RealSeekdb:
    home = root / name
    (home / "bin").mkdir(parents=True)
    (home / "bin/seekdb").symlink_to(find_program())
    return RealSeekdb(home)


def _first_options(*options: str | Path, **sizes: str) -> list[str | Path]:
    return ["--port", str(free_port()), *options, *size_options(**sizes)]


def _boot(root: Path, *options: str | Path, name: str = "home") -> RealSeekdb:
    """Boot a home with an absolute base directory, and kill the server."""
    server = _prepare_home(root, name)
    server.boot("--base-dir", server.home, *_first_options(*options))
    server.kill()
    return server


def _make_by_hand(root: Path) -> None:
    _boot(root)


def _make_without_log(root: Path) -> None:
    shutil.rmtree(_boot(root).home / "log")


def _make_by_hand_relative(root: Path) -> None:
    server = _prepare_home(root)
    server.boot("--base-dir", "home", *_first_options(), cwd=root)
    server.kill()


def _make_without_base_dir(root: Path) -> None:
    server = _prepare_home(root)
    server.boot(*_first_options(), cwd=server.home)
    server.kill()


def _make_obd(root: Path) -> None:
    """Make the directories that obd makes, and run the command that it runs."""
    server = _prepare_home(root)
    for name in ("etc", "admin", ".conf", "log", "log_obshell", "lib"):
        (server.home / name).mkdir()
    for name in ("sstable", "clog", "slog"):
        (root / "disk/data" / name).mkdir(parents=True)
    (server.home / "store").symlink_to(root / "disk/data")
    options = ("--data-dir", root / "disk/data", "--base-dir", server.home)
    program = server.home / "bin/seekdb"
    server.boot(*_first_options(*options), cwd=server.home, program=program)
    server.kill()


def _make_store_link(root: Path, name: str = "home") -> RealSeekdb:
    server = _prepare_home(root, name)
    (root / "disk/data/sstable").mkdir(parents=True)
    (server.home / "store").symlink_to(root / "disk/data")
    server.boot("--base-dir", server.home, *_first_options())
    server.kill()
    return server


def _make_moved(root: Path) -> None:
    _boot(root, name="before").home.rename(root / "home")


def _make_moved_with_link(root: Path) -> None:
    _make_store_link(root, "before").home.rename(root / "home")


def _make_changed_link(root: Path) -> None:
    server = _prepare_home(root)
    link = root / "link"
    link.symlink_to(server.home)
    server.boot("--base-dir", link, *_first_options())
    server.kill()
    link.unlink()
    (root / "other").mkdir()
    link.symlink_to(root / "other")


def _make_data_elsewhere(root: Path) -> None:
    _boot(root, "--data-dir", root / "disk/data")


def _make_redo_elsewhere(root: Path) -> None:
    _boot(root, "--redo-dir", root / "disk/redo")


def _make_both_elsewhere(root: Path) -> None:
    _boot(root, "--data-dir", root / "disk/data", "--redo-dir", root / "disk/redo")


def _make_both_and_others(root: Path) -> None:
    _make_both_elsewhere(root)
    (root / "other/data").mkdir(parents=True)
    (root / "other/redo").mkdir()


def _make_data_not_mounted(root: Path) -> None:
    """Take the data away, and let a later start write its new files."""
    _make_data_elsewhere(root)
    shutil.rmtree(root / "disk/data")
    (root / "disk/data").mkdir()
    server = RealSeekdb(root / "home")
    run_failing(server, ["--base-dir", server.home])


def _make_store_link_empty(root: Path) -> None:
    """Take the disk behind the link away, and let a later start write a new meta.db."""
    server = _make_store_link(root)
    shutil.rmtree(root / "disk/data")
    (root / "disk/data").mkdir()
    run_failing(server, ["--base-dir", server.home])


def _make_store_link_dangling(root: Path) -> None:
    _make_store_link(root)
    shutil.rmtree(root / "disk")


def _kill_at_sight(root: Path, name: str) -> RealSeekdb:
    server = _prepare_home(root)
    with server.launching("--base-dir", server.home, *_first_options()):
        server.wait_until((server.home / name).exists)
        server.kill()
    return server


def _make_half_initialised(root: Path) -> None:
    _kill_at_sight(root, "store/redo/sys/log_stream/log/0")


def _make_half_then_telemetry(root: Path) -> None:
    server = _kill_at_sight(root, "store/redo/sys/log_stream/log/0")
    server.launch("--base-dir", server.home)
    # It writes the file, and then either ends or waits for ever.
    with suppress(RuntimeError):
        server.wait_until((server.home / "run/telemetry.json").exists)
    server.kill()


def _make_killed_early(root: Path) -> None:
    _kill_at_sight(root, "store/sstable/meta.db")


def _make_failed_log_disk(root: Path) -> None:
    server = _prepare_home(root)
    run_failing(server, ["--base-dir", server.home, *_first_options(log_disk_size="1G")])


def _make_failed_port(root: Path) -> None:
    server = _prepare_home(root)
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = str(listener.getsockname()[1])
        run_failing(server, ["--base-dir", server.home, "--port", port, *size_options()])


def _make_failed_disk(root: Path) -> None:
    server = _prepare_home(root)
    run_failing(server, ["--base-dir", server.home, *_first_options()])


def _make_restored(root: Path) -> None:
    """Copy a running server's home file by file, most parameters in the write-ahead log only."""
    server = _prepare_home(root, "original")
    database = server.home / "store/sstable/meta.db"
    with server.launching("--base-dir", server.home, *_first_options()):
        server.wait_until(lambda: _is_readable(database))
        with _keep_open(database):
            server.wait_until(server.has_booted)
            shutil.copytree(
                server.home,
                root / "home",
                symlinks=True,
                ignore=lambda directory, names: _find_excluded(server.home, directory, names),
                copy_function=_copy_sparse,
            )
        server.kill()
    shutil.rmtree(server.home)


def _find_excluded(home: Path, directory: str, names: list[str]) -> set[str]:
    """Return what a backup of data leaves out: run/, log/ and SQLite's shared memory."""
    excluded = {"run", "log"} if Path(directory) == home else {"meta.db-shm"}
    return excluded.intersection(names)


def _is_readable(database: Path) -> bool:
    """Return whether a database has a row, and a write-ahead log which a reader cannot disturb."""
    if not database.exists() or database.read_bytes()[18:20] != b"\x02\x02":
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        try:
            return bool(reader.execute("SELECT count(*) FROM __all_sys_parameter").fetchone()[0])
        except sqlite3.DatabaseError:
            return False


def _copy_sparse(source: str, target: str) -> None:
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


@contextmanager
def _keep_open(database: Path) -> Iterator[None]:
    """Keep a reader's snapshot, so that the server cannot copy its log into the database."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM __all_sys_parameter").fetchone()
        yield


def _make_read_only(root: Path) -> None:
    home = _boot(root).home
    for path in [home, *home.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o555)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _make_foreign(root: Path) -> None:
    _prepare_home(root)
    _write(root, {"home/etc/notes.txt": "mounted by hand\n", "home/store/README": "spare disk\n"})
    (root / "home/store/lost+found").mkdir(mode=0o700)


def _make_never_started(root: Path) -> None:
    _prepare_home(root)
    for name in ("etc", "log", "run", "store"):
        (root / "home" / name).mkdir()


def _make_observer(root: Path) -> None:
    parameters = "mysql_port=2881\nrpc_port=2882\ndata_dir=store/demo\n"
    _write(
        root,
        {
            "home/bin/observer": "",
            "home/etc/observer.config.bin": parameters,
            "home/etc2/observer.conf.bin": parameters,
            "home/etc3/observer.conf.bin": parameters,
            "home/store/demo/clog/tenant_1/1001/log/0": "0" * 512,
            "home/store/demo/slog/server/1": "",
            "home/store/demo/sstable/block_file": "0" * 512,
            "home/run/observer.pid": "1",
            "home/log/observer.log": "[2026-01-01 00:00:00.000000] INFO  observer start\n",
        },
    )


def _make_older(root: Path) -> None:
    """Write what a version before 1.4 leaves, which kept its parameters in etc/."""
    _prepare_home(root)
    _write(
        root,
        {
            "home/etc/seekdb.config.bin": "mysql_port=2881\ndata_dir=store\nredo_dir=store/redo\n",
            "home/store/sstable/block_file": "0" * 512,
            "home/store/redo/sys/log_stream/log/0": "0" * 512,
        },
    )


def _cluster_file(data_dir: str | None = None, redo_dir: str | None = None) -> ClusterFile:
    return ClusterFile(
        _HOME,
        data_dir=data_dir and f"{ROOT}/{data_dir}",
        redo_dir=redo_dir and f"{ROOT}/{redo_dir}",
    )


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "completed_boot_obd",
            "started as obd does: store is a link to the data directory, which is an option too",
            _make_obd,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout("by_hand_absolute", "started by hand, absolute base directory", _make_by_hand),
        Layout(
            "by_hand_relative", "started with a relative base directory", _make_by_hand_relative
        ),
        Layout("no_base_dir", "started from the home, by --port alone", _make_without_base_dir),
        Layout("log_removed", "booted, and its log/ was removed since", _make_without_log),
        Layout("moved_home", "moved after its first boot", _make_moved),
        Layout(
            "moved_home_link",
            "moved after its first boot; store is a link, its target was not moved",
            _make_moved_with_link,
        ),
        Layout(
            "behind_changed_link",
            "booted through a link that now leads to an empty directory",
            _make_changed_link,
            ClusterFile(f"{ROOT}/link"),
        ),
        Layout(
            "data_elsewhere",
            "data directory elsewhere, and the cluster file names it",
            _make_data_elsewhere,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout(
            "redo_elsewhere",
            "redo directory elsewhere, and the cluster file names it",
            _make_redo_elsewhere,
            _cluster_file(redo_dir="disk/redo"),
        ),
        Layout(
            "data_and_redo_elsewhere_silent",
            "data and redo elsewhere, and the cluster file names neither",
            _make_both_elsewhere,
        ),
        Layout(
            "wrong_directories",
            "data and redo elsewhere, and the cluster file names two other, empty directories",
            _make_both_and_others,
            _cluster_file("other/data", "other/redo"),
        ),
        Layout(
            "one_level_off",
            "the cluster file names the parent of the data directory and a child of redo",
            _make_both_elsewhere,
            _cluster_file("disk", "disk/redo/sys"),
        ),
        Layout(
            "data_named_later",
            "everything below the home; the cluster file names a data directory that is missing",
            _make_by_hand,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout(
            "redo_named_later",
            "everything below the home; the cluster file names a redo directory that is missing",
            _make_by_hand,
            _cluster_file(redo_dir="disk/redo"),
        ),
        Layout(
            "both_named_later",
            "everything below the home; the cluster file names directories that are missing",
            _make_by_hand,
            _cluster_file("disk/data", "disk/redo"),
        ),
        Layout(
            "data_not_mounted",
            "the disk of the data is not mounted, and a later start has written there",
            _make_data_not_mounted,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout(
            "store_link_empty",
            "the disk behind the link store is not mounted, and a later start has written there",
            _make_store_link_empty,
        ),
        Layout("store_link_dangling", "the link store leads nowhere", _make_store_link_dangling),
        Layout(
            "half_initialised",
            "killed during its first boot, before it is of use",
            _make_half_initialised,
        ),
        Layout(
            "half_initialised_restarted",
            "half initialised; a later start has written telemetry and never served",
            _make_half_then_telemetry,
        ),
        Layout("killed_early", "killed as soon as meta.db existed", _make_killed_early),
        Layout("failed_log_disk", "first start failed: log_disk_size 1G", _make_failed_log_disk),
        Layout("failed_port_taken", "first start failed: SQL port taken", _make_failed_port),
        Layout(
            "failed_disk_full",
            "first start failed: disk full",
            _make_failed_disk,
            in_small_disk=True,
        ),
        Layout(
            "other_flavour",
            "the home of an observer, which the cluster file calls seekdb",
            _make_observer,
            origin="composed",
        ),
        Layout(
            "restored_from_backup",
            "copied while the server ran: no run/ or log/, most parameters in meta.db-wal only",
            _make_restored,
        ),
        Layout(
            "read_only",
            "no permission to write; for root, mount it read-only",
            _make_read_only,
            is_read_only=True,
        ),
        Layout(
            "foreign_files",
            "never started, with files of others in etc/ and store/",
            _make_foreign,
            origin="composed",
        ),
        Layout(
            "older_version",
            "parameters in etc/seekdb.config.bin, as before 1.4",
            _make_older,
            origin="composed",
        ),
        Layout(
            "never_started",
            "program and empty directories only",
            _make_never_started,
            origin="composed",
        ),
    )
}
