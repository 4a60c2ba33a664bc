"""`dagengine demo` as a user runs it: its output, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dagengine.testing import eventually

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Demo:
    """Run a demo with all files below one directory."""

    directory: Path
    process: asyncio.subprocess.Process

    def processes(self) -> dict[int, str]:
        """Return the command lines of processes that refer to the directory."""
        name = str(self.directory).encode()
        command_lines = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes()
                has_tmpdir = f"TMPDIR={self.directory}".encode() in (entry / "environ").read_bytes()
                inside = (entry / "cwd").resolve().is_relative_to(self.directory)
            except OSError:
                continue
            if words and (has_tmpdir or inside or name in words) and int(entry.name) != os.getpid():
                command_lines[int(entry.name)] = words.replace(b"\0", b" ").decode(errors="replace")
        return command_lines

    def files(self) -> list[Path]:
        return list(self.directory.iterdir())

    def servers(self) -> list[int]:
        return [
            pid
            for pid, words in self.processes().items()
            if words.split(" ")[0].endswith("seekdb") and "--base-dir" in words
        ]

    async def wait_gone(self, family: list[psutil.Process]) -> None:
        """Wait until no process or file is left; name the remaining ones."""

        def find_remaining() -> list[object]:
            alive = [process for process in family if is_alive(process)]
            return [*alive, *self.processes().items(), *self.files()]

        async def is_gone() -> bool:
            return not find_remaining()

        try:
            await eventually(is_gone, timeout_s=20, what="the end of all processes and files")
        except AssertionError as error:
            raise AssertionError(f"left behind: {find_remaining()}") from error

    async def wait_servers(self) -> list[psutil.Process]:
        """Wait for the middle of the start; return the processes of the demo."""

        async def has_servers() -> bool:
            assert self.process.returncode is None
            return len(self.servers()) == 3

        await eventually(has_servers, timeout_s=30, what="the start of the servers")
        family = psutil.Process(self.process.pid).children(recursive=True)
        pids = self.servers()  # without a parent: each is a daemon
        return family + [process for process in psutil.process_iter() if process.pid in pids]


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; False for a zombie, which its parent may reap late."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@asynccontextmanager
async def launch(tmp_path: Path, *argv: str, **environ: str) -> AsyncIterator[Demo]:
    """A demo that leads a process group, as a command typed at a terminal does."""
    directory = tmp_path.resolve() / "tmp"
    directory.mkdir()
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dagengine",
            "demo",
            *argv,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(directory), **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield Demo(directory, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def wait_end(demo: Demo) -> int:
    async with asyncio.timeout(60):
        return await demo.process.wait()


async def test_demo_once_prints_final_dag_and_removes_everything(tmp_path: Path) -> None:
    async with launch(tmp_path, "--once", "--json") as demo:
        assert await wait_end(demo) == 0
        assert (demo.processes(), demo.files()) == ({}, [])

        dag = json.loads((tmp_path / "out").read_text())
        summary = (dag["name"], dag["state"], dag["stage"], dag["max_stage"])
        assert summary == ("Start OB", "SUCCEED", 6, 6)
        evidence = dag["additional_data"]["evidence"]
        assert [facts["level"] for facts in evidence.values()] == ["sql"] * 3
        text = (tmp_path / "err").read_text()
        assert f"Start OB {dag['id']}: SUCCEED" in text
        assert "every process and file of the demo is removed" in text


async def test_demo_without_working_sshd_uses_asyncssh_server(tmp_path: Path) -> None:
    # The path is searched first, so this program hides the installed one.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sshd").write_text("#!/bin/sh\necho no sshd for this test >&2\nexit 1\n")
    (programs / "sshd").chmod(0o755)
    async with launch(tmp_path, "--once", PATH=f"{programs}:{os.environ['PATH']}") as demo:
        assert await wait_end(demo) == 0, (tmp_path / "err").read_text()
        assert (demo.processes(), demo.files()) == ({}, [])
        text = (tmp_path / "out").read_text()
        assert "hosts: 3 on loopback, each behind its own asyncssh server" in text
        assert "OpenSSH sshd is not used: " in text
        assert "no sshd for this test" in text
        assert re.search(r"^Start OB \S+: SUCCEED$", text, re.MULTILINE)


async def test_demo_sigint_during_start_removes_everything(
    tmp_path: Path,
) -> None:
    async with launch(tmp_path) as demo:
        family = await demo.wait_servers()
        os.killpg(demo.process.pid, signal.SIGINT)  # a terminal sends it to the whole group
        assert await wait_end(demo) == 130
        assert (demo.processes(), demo.files()) == ({}, [])
        assert [process for process in family if is_alive(process)] == []
        text = (tmp_path / "err").read_text()
        assert text.endswith("stopped; everything is removed\n")
        assert "Traceback" not in text


async def test_demo_sigkill_during_start_removes_everything(tmp_path: Path) -> None:
    async with launch(tmp_path) as demo:
        family = await demo.wait_servers()
        demo.process.kill()
        assert await wait_end(demo) == -signal.SIGKILL
        await demo.wait_gone(family)


async def test_demo_killed_controller_is_reported(tmp_path: Path) -> None:
    async with launch(tmp_path, "--json") as demo:

        async def runs() -> bool:
            return "runs until Ctrl-C" in (tmp_path / "err").read_text()

        await eventually(runs, timeout_s=60, what="the end of the start")
        (controller,) = (pid for pid, words in demo.processes().items() if "serve -c" in words)
        os.kill(controller, signal.SIGKILL)
        assert await wait_end(demo) == 1
        assert (demo.processes(), demo.files()) == ({}, [])
        assert [*Path("/tmp").glob(f"dagengine-{controller}-*")] == []
    text = (tmp_path / "err").read_text()
    assert "dagengine: the controller was ended by SIGKILL; the last lines of its log:\n  " in text


async def test_demo_sigint_before_start_removes_everything(tmp_path: Path) -> None:
    async with launch(tmp_path) as demo:

        async def has_begun() -> bool:
            return any(file.name.startswith("dagengine-demo-") for file in demo.files())

        await eventually(has_begun, what="the demo's directory")
        demo.process.send_signal(signal.SIGINT)
        assert await wait_end(demo) == 130
        assert (demo.processes(), demo.files()) == ({}, [])


async def test_demo_fleet_replaces_killed_owner_during_start(tmp_path: Path) -> None:
    async with launch(tmp_path, "--fleet", "--once", "--json") as demo:
        async with asyncio.timeout(120):
            code = await demo.process.wait()
        text = (tmp_path / "err").read_text()
        assert code == 0, text
        assert (demo.processes(), demo.files()) == ({}, [])
        dags = json.loads((tmp_path / "out").read_text())
        assert [(dag["name"], dag["state"]) for dag in dags] == [("Start OB", "SUCCEED")] * 2
        killed = re.search(r"^kill -9 (\d+): (controller\d), the owner of cluster1", text, re.M)
        assert killed is not None
        successors = re.findall(r"^(controller\d) has taken over cluster1 [\d.]+ s", text, re.M)
        assert len(successors) == 1
        assert successors != [killed[2]]
        assert re.search(rf"^controller \S+:{killed[1]} .*: DEAD, 0 clusters", text, re.M)
        assert len(re.findall(r"^controller .*: LIVE, ", text, re.M)) == 2
