"""Makers of layouts: each function creates one in a directory, with no server running."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tasks.demo.hosts import free_port
from tests.layouts.real_seekdb import RealSeekdb, find_program, run_failing, size_options


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


def make_by_hand(root: Path) -> None:
    _boot(root)


def make_without_log(root: Path) -> None:
    shutil.rmtree(_boot(root).home / "log")


def make_by_hand_relative(root: Path) -> None:
    server = _prepare_home(root)
    server.boot("--base-dir", "home", *_first_options(), cwd=root)
    server.kill()


def make_without_base_dir(root: Path) -> None:
    server = _prepare_home(root)
    server.boot(*_first_options(), cwd=server.home)
    server.kill()


def make_obd(root: Path) -> None:
    """Create the directories and run the command as obd does."""
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


def make_store_link(root: Path, name: str = "home") -> RealSeekdb:
    server = _prepare_home(root, name)
    (root / "disk/data/sstable").mkdir(parents=True)
    (server.home / "store").symlink_to(root / "disk/data")
    server.boot("--base-dir", server.home, *_first_options())
    server.kill()
    return server


def make_moved(root: Path) -> None:
    _boot(root, name="before").home.rename(root / "home")


def make_moved_with_link(root: Path) -> None:
    make_store_link(root, "before").home.rename(root / "home")


def make_changed_link(root: Path) -> None:
    server = _prepare_home(root)
    link = root / "link"
    link.symlink_to(server.home)
    server.boot("--base-dir", link, *_first_options())
    server.kill()
    link.unlink()
    (root / "other").mkdir()
    link.symlink_to(root / "other")


def make_data_elsewhere(root: Path) -> None:
    _boot(root, "--data-dir", root / "disk/data")


def make_redo_elsewhere(root: Path) -> None:
    _boot(root, "--redo-dir", root / "disk/redo")


def make_both_elsewhere(root: Path) -> None:
    _boot(root, "--data-dir", root / "disk/data", "--redo-dir", root / "disk/redo")


def make_both_and_others(root: Path) -> None:
    make_both_elsewhere(root)
    (root / "other/data").mkdir(parents=True)
    (root / "other/redo").mkdir()


def make_data_not_mounted(root: Path) -> None:
    """Remove the data, and let a later start write new files."""
    make_data_elsewhere(root)
    shutil.rmtree(root / "disk/data")
    (root / "disk/data").mkdir()
    server = RealSeekdb(root / "home")
    run_failing(server, ["--base-dir", server.home])


def make_store_link_empty(root: Path) -> None:
    """Remove the disk behind the link, and let a later start write a new meta.db."""
    server = make_store_link(root)
    shutil.rmtree(root / "disk/data")
    (root / "disk/data").mkdir()
    run_failing(server, ["--base-dir", server.home])


def make_store_link_dangling(root: Path) -> None:
    make_store_link(root)
    shutil.rmtree(root / "disk")


def _kill_at_sight(root: Path, name: str) -> RealSeekdb:
    server = _prepare_home(root)
    with server.launching("--base-dir", server.home, *_first_options()):
        server.wait_until((server.home / name).exists)
        server.kill()
    return server


def make_half_initialised(root: Path) -> None:
    _kill_at_sight(root, "store/redo/sys/log_stream/log/0")


def make_half_then_telemetry(root: Path) -> None:
    server = _kill_at_sight(root, "store/redo/sys/log_stream/log/0")
    server.launch("--base-dir", server.home)
    # It writes the file, and then either ends or hangs.
    with suppress(RuntimeError):
        server.wait_until((server.home / "run/telemetry.json").exists)
    server.kill()


def make_killed_early(root: Path) -> None:
    _kill_at_sight(root, "store/sstable/meta.db")


def make_failed_log_disk(root: Path) -> None:
    server = _prepare_home(root)
    run_failing(server, ["--base-dir", server.home, *_first_options(log_disk_size="1G")])


def make_failed_port(root: Path) -> None:
    server = _prepare_home(root)
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = str(listener.getsockname()[1])
        run_failing(server, ["--base-dir", server.home, "--port", port, *size_options()])


def make_failed_disk(root: Path) -> None:
    server = _prepare_home(root)
    run_failing(server, ["--base-dir", server.home, *_first_options()])


def make_restored(root: Path) -> None:
    """Copy a running server's home by file; most parameters are only in the write-ahead log."""
    server = _prepare_home(root, "original")
    database = server.home / "store/sstable/meta.db"
    with server.launching("--base-dir", server.home, *_first_options()):
        server.wait_until(lambda: _is_readable(database))
        with _keep_open(database):
            server.wait_until_booted()
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
    """Return the entries that a backup of data excludes: run/, log/ and SQLite's shared memory."""
    excluded = {"run", "log"} if Path(directory) == home else {"meta.db-shm"}
    return excluded.intersection(names)


def _is_readable(database: Path) -> bool:
    """Return whether a database has a row, and a write-ahead log that a reader cannot change."""
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
    """Hold a reader's snapshot, so that the server cannot copy its log into the database."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM __all_sys_parameter").fetchone()
        yield


def make_read_only(root: Path) -> None:
    home = _boot(root).home
    for path in [home, *home.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o555)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def make_foreign(root: Path) -> None:
    _prepare_home(root)
    _write(root, {"home/etc/notes.txt": "mounted by hand\n", "home/store/README": "spare disk\n"})
    (root / "home/store/lost+found").mkdir(mode=0o700)


def make_never_started(root: Path) -> None:
    _prepare_home(root)
    for name in ("etc", "log", "run", "store"):
        (root / "home" / name).mkdir()


def make_observer(root: Path) -> None:
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


def make_older(root: Path) -> None:
    """Write the files of a version before 1.4, which kept its parameters in etc/."""
    _prepare_home(root)
    _write(
        root,
        {
            "home/etc/seekdb.config.bin": "mysql_port=2881\ndata_dir=store\nredo_dir=store/redo\n",
            "home/store/sstable/block_file": "0" * 512,
            "home/store/redo/sys/log_stream/log/0": "0" * 512,
        },
    )
