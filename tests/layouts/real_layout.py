"""A real layout in a directory: made once, then restored for each action, with its servers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from tests.layouts.database import read_row
from tests.layouts.layouts import Layout
from tests.layouts.real_seekdb import RealSeekdb
from tests.layouts.scan import read_parameters

_PROGRAMS = ("/seekdb", "/seekdb (deleted)", "/observer")
_END_BOUND_S = 20.0
_STEP_S = 0.01


class RealLayout:
    """The present state of a layout.

    Attributes:
        layout: the layout's description.
        root: directory that holds it.
        home: the real home; the cluster file may name a link to it.
        sql_port: port that its server has recorded; None without a record.
    """

    def __init__(self, layout: Layout, root: Path, password: str) -> None:
        self.layout = layout
        self.root = root
        self.home = root / layout.real_home
        self._password = password

    @property
    def sql_port(self) -> int | None:
        port = read_parameters(self.home).get("mysql_port")
        return int(port) if port else None

    def place(self, path: str | None) -> str | None:
        """Return a path of the layout's cluster file with the present root."""
        return path and path.replace("@ROOT@", str(self.root))

    def find_servers(self) -> list[int]:
        """Return the servers that work anywhere below the root, without using the product."""
        servers = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                program = str((process / "exe").readlink())
                directory = (process / "cwd").readlink()
            except OSError:
                continue
            if program.endswith(_PROGRAMS) and directory.is_relative_to(self.root):
                servers.append(int(process.name))
        return sorted(servers)

    def launch(self) -> int:
        """Start the server by hand, as this layout requires; return its pid."""
        server = RealSeekdb(self.home)
        match self.layout.name:
            case "by_hand_relative":
                server.launch("--base-dir", "home", cwd=self.root)
            case "no_base_dir":
                server.launch(cwd=self.home)
            case "moved_home_link":
                self._launch_and_move()
            case "behind_changed_link":
                self._launch_behind_link(server)
            case _:
                server.launch("--base-dir", self.home)
        self.read_row()
        (pid,) = self.find_servers()
        return pid

    def read_row(self) -> str:
        """Return the row that was written when the layout was made, once the server responds."""
        return read_row(self.home, self._password)

    def name_in_pid_file(self, pid: int) -> None:
        """Write a pid into the server's pid file, without replacing the file."""
        if self.layout.is_read_only:
            return
        (self.home / "run").mkdir(exist_ok=True)
        for name in ("seekdb.pid", "observer.pid"):
            (self.home / "run" / name).write_text(str(pid))

    def kill_servers(self) -> None:
        """Kill all servers below the root, and wait for their end."""
        begun_s = time.monotonic()
        while servers := self.find_servers():
            for pid in servers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() - begun_s > _END_BOUND_S:
                raise TimeoutError(f"servers {servers} in {self.root}")
            time.sleep(_STEP_S)

    def _launch_and_move(self) -> None:
        """Move the running server, so that its command line names another directory.

        Only if store is a link: the server could not write to files that are moved with it.
        """
        before = self.root / "before"
        self.home.rename(before)
        RealSeekdb(before).launch("--base-dir", before)
        read_row(before, self._password)
        before.rename(self.home)

    def _launch_behind_link(self, server: RealSeekdb) -> None:
        link = self.root / "link"
        other = link.readlink()
        link.unlink()
        link.symlink_to(self.home)
        server.launch("--base-dir", link)
        self.read_row()
        link.unlink()
        link.symlink_to(other)


class LayoutStore:
    """Makes layouts, keeps a copy of the last one, and restores it in the same directory."""

    def __init__(self, directory: Path, password: str) -> None:
        self._root = directory / "root"
        self._copy = directory / "copy"
        self._password = password
        self._maker: object = None

    @property
    def homes(self) -> list[Path]:
        """Return the homes in which a server of any layout may work."""
        return [self._root / name for name in ("home", "before", "original")]

    @contextmanager
    def restored(self, layout: Layout) -> Iterator[RealLayout]:
        """Yield a layout for one action; kill its servers afterwards."""
        real = RealLayout(layout, self._root, self._password)
        self._root.mkdir()
        try:
            with self._on_its_file_system(layout):
                self._fill(layout)
                with _read_only(real.home) if layout.is_read_only else nullcontext():
                    yield real
                    real.kill_servers()
        finally:
            real.kill_servers()
            shutil.rmtree(self._root)

    def _fill(self, layout: Layout) -> None:
        if layout.in_small_disk:  # fast to make, and a copy would need the same disk
            layout.make(self._root)
        elif layout.make is self._maker:
            self._copy_tree(self._copy, self._root)
        else:
            shutil.rmtree(self._copy, ignore_errors=True)
            self._maker = None
            layout.make(self._root)
            self._copy.mkdir()
            self._copy_tree(self._root, self._copy)
            self._maker = layout.make

    def _copy_tree(self, source: Path, target: Path) -> None:
        command = ["cp", "--archive", "--sparse=always", f"{source}/.", str(target)]
        subprocess.run(command, check=True)

    @contextmanager
    def _on_its_file_system(self, layout: Layout) -> Iterator[None]:
        if not layout.in_small_disk:
            yield
            return
        with _mounted(["-t", "tmpfs", "-o", "size=300m", "tmpfs", str(self._root)], self._root):
            yield


@contextmanager
def _read_only(home: Path) -> Iterator[None]:
    with _mounted(["--bind", str(home), str(home)], home):
        subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
        yield


@contextmanager
def _mounted(arguments: list[str], place: Path) -> Iterator[None]:
    subprocess.run(["mount", *arguments], check=True)
    try:
        yield
    finally:
        # It may be the working directory of the controller's shells for a moment.
        subprocess.run(["umount", "--lazy", place], check=True)
