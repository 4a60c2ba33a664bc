"""Record sessions of the command line against a demo cluster of real servers.

    python -m docs.record_sessions [SESSION …]

Each session is written to docs/sessions/ as NAME.cast (asciicast v2, for `asciinema play`) and as
NAME.txt, the same as plain text. Temporary paths, ports, ids, pids, clock times and durations are
replaced or rounded, so that recordings of the same behaviour differ little.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyte

from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts

DIRECTORY = Path(__file__).parent / "sessions"
WIDTH, HEIGHT = 100, 30
PROMPT = "$ "

_ID_PREFIX = "22130706433"  # of ids on 127.0.0.1; the port follows
_TEXT_HEIGHT = 400  # lines of a whole session
_FRAME_S = 0.05  # output within this time is one event
_LIMIT_S = 120.0  # of one command
_TYPING_S, _PAUSE_S = 0.5, 1.0  # shown around a command
_STOP_LIMIT_S = 30.0


@dataclass(frozen=True)
class Command:
    """A command line of a session; `arguments` follow `dagengine`."""

    arguments: str


@dataclass(frozen=True)
class Action:
    """Something that happens to the hosts, shown as a comment."""

    comment: str
    run: Callable[[Stage], Awaitable[None]]


@dataclass
class Stage:
    """The demo cluster of a session, and the files that are put aside during it."""

    cluster: DemoCluster
    aside: dict[Path, Path] = field(default_factory=dict)

    def find_server_pid(self, number: int) -> int:
        """Return the pid of a running server, by its pid file."""
        file = self.cluster.servers[number].home / "run" / "seekdb.pid"
        return int(file.read_text(encoding="ascii").split()[0])


async def move_home_away(stage: Stage) -> None:
    """Make a start of the third server fail: its home does not exist."""
    home = stage.cluster.servers[2].home
    stage.aside[home] = home.rename(home.with_name("aside"))


async def move_home_back(stage: Stage) -> None:
    """Correct the cause of the failure."""
    for home, aside in stage.aside.items():
        aside.rename(home)
    stage.aside.clear()


async def kill_second_server(stage: Stage) -> None:
    """End a server as a crash does, and wait until its process is gone."""
    pid = stage.find_server_pid(1)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(_STOP_LIMIT_S):
        while _is_alive(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)  # the watch of the host reports the end within a second


SESSIONS: dict[str, Sequence[Command | Action]] = {
    "failing_host_then_retry": (
        Action("the home of the third server does not exist", move_home_away),
        Command("start"),
        Action("create the home", move_home_back),
        Command("retry last"),
        Command("status"),
    ),
    "kill_status_start": (
        Command("start"),
        Action("the process of the second server is killed", kill_second_server),
        Command("status"),
        Command("start"),
        Command("status"),
    ),
}


@dataclass
class Recording:
    """Events of an asciicast: the time in seconds, and the output."""

    events: list[tuple[float, str]] = field(default_factory=list)

    def write(self, at_s: float, text: str) -> None:
        self.events.append((at_s, text))


async def record(name: str) -> Recording:
    """Play a session against a new demo cluster of three hosts."""
    async with _open_stage() as stage:
        recording, normalize = Recording(), Normalizer(stage.cluster)
        at_s = 0.0
        for step in SESSIONS[name]:
            if isinstance(step, Action):
                recording.write(at_s, f"# {step.comment}\r\n")
                await step.run(stage)
                at_s += _PAUSE_S
                continue
            recording.write(at_s, f"{PROMPT}dagengine {step.arguments}\r\n")
            at_s += _TYPING_S
            frames = await _run_on_terminal(stage.cluster, step.arguments.split())
            for frame_s, text in normalize.frames(frames):
                recording.write(at_s + frame_s, text)
            at_s += (frames[-1][0] if frames else 0.0) + _PAUSE_S
        return recording


def render_cast(recording: Recording) -> str:
    """Return an asciicast v2: a header and one event per line."""
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "env": {"TERM": "xterm-256color"}}
    lines = [json.dumps(header)]
    lines += [json.dumps([round(at_s, 1), "o", text]) for at_s, text in recording.events]
    return "\n".join(lines) + "\n"


def parse_cast(text: str) -> Recording:
    """Return the recording of an asciicast.

    Raises:
        ValueError: it is not an asciicast v2.
    """
    header, *events = map(json.loads, text.splitlines())
    if header["version"] != 2 or any(event[1] != "o" for event in events):
        raise ValueError("not an asciicast v2 with output only")
    return Recording([(event[0], event[2]) for event in events])


def render_text(recording: Recording) -> str:
    """Return what a terminal shows at the end of a session, with all lines."""
    screen = pyte.Screen(WIDTH, _TEXT_HEIGHT)
    stream = pyte.Stream(screen)
    for _, text in recording.events:
        stream.feed(text)
    lines = [line.rstrip() for line in screen.display]
    return "\n".join(lines).rstrip("\n") + "\n"


class Normalizer:
    """Replaces what differs between two recordings. Replacements have the length of the original.

    Otherwise the columns and the cursor movements of a terminal would no longer match.
    """

    def __init__(self, cluster: DemoCluster) -> None:
        port = cluster.url.rpartition(":")[2]
        self._fixed = {
            str(cluster.directory): _fit("/tmp/dagengine-demo", len(str(cluster.directory))),  # noqa: S108
            f":{port}": f":{_fit_port(12886, port)}",
            f"{_ID_PREFIX}{port}": f"{_ID_PREFIX}{_fit_port(12886, port)}",
        }
        for number, server in enumerate(cluster.servers):
            sql_port = str(server.sql_port)
            self._fixed[f" {sql_port} "] = f" {_fit_port(12881 + number, sql_port)} "
        self._pids: dict[str, str] = {}

    def frames(self, frames: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
        """Return the frames of a command, normalised."""
        return [(at_s, self.normalize(text)) for at_s, text in frames]

    def normalize(self, text: str) -> str:
        """Return a text without what differs between two recordings."""
        for found, replacement in self._fixed.items():
            text = text.replace(found, replacement)
        text = re.sub(r"(?<=pid )\d+", self._pid, text)
        text = re.sub(r"(?<= )\d{4,7}(?=  \d{4}-\d\d-\d\d|  \d+ (s|min) ago)", self._pid, text)
        text = re.sub(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", "2026-01-01 09:00:00 +0000", text
        )
        text = re.sub(r"(?<!\d)\d\d:\d\d:\d\d(?!\d)", "09:00:00", text)
        text = re.sub(r"(?<!\d)\d s ago", "1 s ago", text)
        return re.sub(r"(?<!\d)\d+\.\d+ s\b", _round_duration, text)

    def _pid(self, match: re.Match[str]) -> str:
        pid = match[0]
        return self._pids.setdefault(pid, _fit_port(4711 + len(self._pids), pid))


def _fit_port(number: int, original: str) -> str:
    """Return a number with as many digits as the original."""
    return str(number).rjust(len(original), "1")[-len(original) :]


def _fit(path: str, length: int) -> str:
    return path.ljust(length, "0")[:length]


def _round_duration(match: re.Match[str]) -> str:
    """Round a duration to whole seconds, in the same width."""
    number = match[0].removesuffix(" s")
    decimals = len(number.partition(".")[2])
    return f"{round(float(number)):.{decimals}f} s"


@asynccontextmanager
async def _open_stage() -> AsyncIterator[Stage]:
    async with DemoHosts(3) as hosts:
        cluster = DemoCluster(hosts)
        with (cluster.directory / "controller.log").open("ab") as log:
            controller = await cluster.start_controller(log)
        hosts.guard.watch_process(controller.pid)
        stage = Stage(cluster)
        try:
            yield stage
        finally:
            await move_home_back(stage)
            controller.terminate()
            async with asyncio.timeout(_STOP_LIMIT_S):
                await controller.wait()


async def _run_on_terminal(
    cluster: DemoCluster, arguments: Sequence[str]
) -> list[tuple[float, str]]:
    """Run a command on a pseudo-terminal; return its output with the time of each part."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    started_s = time.monotonic()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagengine", *arguments),
            env={**cluster.environment, "TERM": "xterm-256color", "TZ": "UTC", "LANG": "C.UTF-8"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        async with asyncio.timeout(_LIMIT_S):
            frames = await asyncio.to_thread(_read_frames, ours, started_s)
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    return frames


def _read_frames(descriptor: int, started_s: float) -> list[tuple[float, str]]:
    """Read a terminal until the program that writes to it ends."""
    parts: list[tuple[float, bytes]] = []
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # the last writer has closed the terminal
            data = b""
        if not data:
            return [(at_s, part.decode("utf-8", "replace")) for at_s, part in parts]
        at_s = time.monotonic() - started_s
        if parts and at_s - parts[-1][0] < _FRAME_S:
            parts[-1] = (parts[-1][0], parts[-1][1] + data)
        else:
            parts.append((at_s, data))


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def main(names: Sequence[str]) -> None:
    """Record the sessions with these names, or all."""
    DIRECTORY.mkdir(exist_ok=True)
    for name in names or SESSIONS:
        recording = asyncio.run(record(name))
        (DIRECTORY / f"{name}.cast").write_text(render_cast(recording), encoding="utf-8")
        (DIRECTORY / f"{name}.txt").write_text(render_text(recording), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
