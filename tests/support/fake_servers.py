"""Processes that run a program with the name of a database server, and do nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagengine.remote import Command

NOBODY = 65534
"""A user without rights; tests that run as root start unprivileged commands as this user."""

SAYS_READY = "echo ready; read -r word"
"""The script of a fake server, which runs until its standard input ends."""


@contextmanager
def run_server(
    cwd: Path,
    *words: str,
    program: str = "seekdb",
    text: str = SAYS_READY,
    by: str = "77",
    user: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a copy of the shell with the name of the program, so that it is the executable.

    Args:
        cwd: working directory.
        words: arguments of the server.
        program: name of the executable and of the process.
        text: a shell script that prints a line when it is ready.
        by: id of the DAG that has started it.
        user: uid and gid to run as; needs root.
    """
    with tempfile.TemporaryDirectory(prefix="fake-server-") as directory:
        Path(directory).chmod(0o755)
        executable = Path(directory, program)
        shutil.copy(Path("/bin/sh").resolve(), executable)
        with subprocess.Popen(
            [str(executable), "-c", text, program, *words],
            cwd=cwd,
            env=os.environ | {"DAGENGINE_START": by},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=user,
            group=user,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # its signal handlers are set
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def listen(
    port: int = 0, *, program: str = "seekdb", cwd: str | Path = "/"
) -> Iterator[tuple[int, int]]:
    """Listen on a port of the loopback interface in a process with a name; gives port and pid."""
    text = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with (
        tempfile.TemporaryDirectory(prefix="fake-server-") as directory,
        subprocess.Popen(
            [copy_interpreter(Path(directory, program)), "-I", "-c", text, str(port)],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def copy_interpreter(program: Path) -> Path:
    """Make a Python interpreter with another name, so that it is the executable of its processes.

    It is a virtual environment without packages: the file next to it names the real installation.
    """
    source = Path(sys.executable).resolve()
    program.parent.mkdir(parents=True, exist_ok=True)
    if not program.exists():
        program.with_name("pyvenv.cfg").write_text(f"home = {source.parent}\n")
        try:
            program.hardlink_to(source)
        except OSError:  # another file system, or another owner
            shutil.copy(source, program)
    return program


def run_as(user: int | None, command: Command, *, limit_s: float = 30) -> str:
    """Run a command as a user (needs root) and return its output; it may print no error."""
    result = subprocess.run(
        [str(word) for word in command.argv],
        capture_output=True,
        text=True,
        check=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
        timeout=limit_s,
    )
    assert result.stderr == ""
    return result.stdout


def run_as_nobody(command: Command, before: str = ":", *, limit_s: float = 30) -> str:
    """Run a command as the user `nobody`, which cannot see the processes of other users.

    `before` is a shell command that prepares its mount namespace, as root. Needs root.
    """
    hidden = f"{before} && mount -t proc -o hidepid=2 proc /proc && exec setpriv "
    words = f'{hidden} --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"'
    argv = ("unshare", "-m", "sh", "-c", words, "sh", *command.argv)
    return run_as(None, Command(argv), limit_s=limit_s)


@contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="open-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
