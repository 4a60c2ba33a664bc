"""The script that starts a server: it verifies the decision and moves only the files it names."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dagengine import Engine, SystemClock
from dagengine.testing import LocalRunner, LocalRunnerPool, eventually
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.seekdb import SEEKDB
from tasks.flavours.select import FLAVOURS
from tasks.hosts.commands import (
    FIRST_START_MARKER,
    START_DEADLINE_S,
    confirm_first_start_command,
    facts_command,
    start_command,
    wait_for_lock_command,
)
from tasks.hosts.facts import parse_facts
from tasks.hosts.fence import ProbeOutcome, parse_probe
from tasks.hosts.home_state import (
    Contradictory,
    Empty,
    FailedFirstStart,
    HomeFiles,
    StartKind,
    StoredParameters,
    decide_home,
)
from tasks.hosts.reports import StartOutcome, StartReport, parse_start
from tasks.operations.first_start import remove_first_start_marker
from tasks.operations.start import START, start_operation
from tests.support.factories import make_server
from tests.support.fake_servers import NOBODY, open_directory, run_as, run_as_nobody, run_server
from tests.support.hostile_cluster import FakeContext

MARKER = ".dagengine-first-start"
BOOTED = "[server_start 14/14] observer start success"


@dataclass(frozen=True)
class Home:
    """A home whose program prints its arguments and descriptors, and fails."""

    path: Path
    data: Path
    redo: Path

    def start(
        self, kind: StartKind, *, data_dir: str | None = None, limit_s: int = START_DEADLINE_S
    ) -> StartReport:
        server = make_server(home=str(self.path), data_dir=data_dir, redo_dir=str(self.redo))
        command = start_command(server, "78", kind, limit_s=limit_s)
        return parse_start(run_as(None, command, limit_s=limit_s))

    def write(self, name: str, text: str = "x", *, age: int = 0) -> Path:
        """Create a file below the home, `age` seconds older than the newest."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
        return path

    def leave_failed_start(self, *, log_from: int = 0) -> None:
        """Write the files of a first start that failed before its boot was complete."""
        log = self.write("log/seekdb.log", "[server_start 1/14] begin\n")
        self.write(MARKER, f"77 {log.stat().st_ino} {log_from}\n", age=100)
        self.write("etc/seekdb.data_version.bin")
        self.write("store/sstable/meta.db")

    def files(self) -> dict[str, bytes]:
        """Return the content of all files below the home and next to it."""
        return {
            path.relative_to(self.path.parent).as_posix(): path.read_bytes()
            for path in sorted(self.path.parent.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "a 'home' $x", tmp_path / "data dir", tmp_path / "redo")
    text = '#!/bin/sh\nls /proc/$$/fd | tr "\\n" " "\necho " $*"\nexit 87\n'
    program = home.write("bin/seekdb", text)
    program.chmod(0o755)
    return home


@pytest.mark.parametrize(
    "name",
    [
        *("etc/a", "store/deep/er/a", ".hidden/../etc/.hidden", "run/telemetry.json"),
        *("etc/failed-start-1", "../data dir/a", "../redo/a"),
    ],
)
def test_start_script_first_start_with_file_changes_nothing(home: Home, name: str) -> None:
    (home.path / ".hidden").mkdir()
    home.write(name)
    before = home.files()
    report = home.start(StartKind.FIRST, data_dir=str(home.data))
    assert (report.outcome, report.status) == (StartOutcome.CHANGED, None)
    assert home.files() == before


def test_start_script_first_start_with_dangling_link_is_refused(home: Home) -> None:
    (home.path / "store").mkdir()
    (home.path / "store" / "sstable").symlink_to("/nowhere")
    assert home.start(StartKind.FIRST).outcome is StartOutcome.CHANGED


def test_start_script_first_start_writes_marker(home: Home) -> None:
    log = home.write("log/seekdb.log", "12345")
    (home.path / "etc").mkdir()
    report = home.start(StartKind.FIRST)
    assert (report.outcome, report.status, report.log_from) == (StartOutcome.LAUNCHED, 87, 5)
    assert (home.path / MARKER).read_text() == f"78 {log.stat().st_ino} 5\n"
    assert report.moved_aside == ()
    run_as(None, confirm_first_start_command(str(home.path)))
    assert not (home.path / MARKER).exists()


@pytest.mark.parametrize("target", ["directory", "file", "nothing"])
def test_start_script_replaces_link_in_place_of_marker(home: Home, target: str) -> None:
    outside = home.path.parent / "outside"
    (outside / "directory").mkdir(parents=True)
    (outside / "file").write_text("precious")
    (home.path / MARKER).symlink_to(outside / target)
    assert home.start(StartKind.FIRST).outcome is StartOutcome.LAUNCHED
    assert not (home.path / MARKER).is_symlink()
    assert (home.path / MARKER).read_text() == "78 0 0\n"
    assert sorted(path.name for path in outside.rglob("*")) == ["directory", "file"]
    assert (outside / "file").read_text() == "precious"


def test_start_script_first_start_without_log_writes_zeros(home: Home) -> None:
    home.start(StartKind.FIRST)
    assert (home.path / MARKER).read_text() == "78 0 0\n"


def test_start_script_program_inherits_no_descriptor(home: Home) -> None:
    report = home.start(StartKind.FIRST)
    descriptors = {int(word) for word in report.output_tail.split() if word.isdecimal()} - {2881}
    assert descriptors & {7, 8, 9} == set()
    assert descriptors >= {0, 1, 2}


@pytest.mark.parametrize("resets_signals", [True, False])
def test_started_program_ignores_no_signal(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resets_signals: bool
) -> None:
    """The launch runs in the background of a shell, where SIGINT and SIGQUIT are ignored."""
    program = home.write("bin/seekdb", "#!/bin/sh\ngrep SigIgn: /proc/$$/status\nexit 87\n")
    program.chmod(0o755)
    if not resets_signals:
        (tmp_path / "programs").mkdir()
        timeout = tmp_path / "programs/timeout"
        timeout.write_text('#!/bin/sh\nwhile [ "$1" != setsid ]; do shift; done\nexec "$@"\n')
        timeout.chmod(0o755)
        monkeypatch.setenv("PATH", f"{timeout.parent}:{os.environ['PATH']}")
    report = home.start(StartKind.FIRST)
    assert (report.outcome, report.status) == (StartOutcome.LAUNCHED, 87)
    ignored = int(report.output_tail.split()[1], 16)
    assert ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1) == 0


@pytest.mark.parametrize(
    "change",
    [
        *("telemetry", "completed boot", "rotated log", "older file", "link"),
        *("no marker", "damaged marker", "data elsewhere", "redo elsewhere"),
    ],
)
def test_start_script_invalid_leftover_start_changes_nothing(home: Home, change: str) -> None:
    home.leave_failed_start(log_from=5)
    match change:
        case "telemetry":
            home.write("run/telemetry.json")
        case "completed boot":
            home.leave_failed_start(log_from=5)
            with (home.path / "log/seekdb.log").open("a") as log:
                log.write(f"[t] INFO {BOOTED}\n")
        case "rotated log":
            home.write("log/seekdb.log.20260101000000000", f"{BOOTED}\n")
        case "older file":
            home.write("store/slog/1", age=200)
        case "link":
            (home.path / "store").rename(home.path.parent / "moved")
            (home.path / "store").symlink_to("../moved")
        case "no marker":
            (home.path / MARKER).unlink()
        case "damaged marker":
            home.write(MARKER, "77 x y\n", age=100)
        case "data elsewhere":
            home.write("../data dir/block_file")
        case "redo elsewhere":
            home.write("../redo/sys/log_stream/log/0")
    before = home.files()
    report = home.start(StartKind.LEFTOVER, data_dir=str(home.data))
    assert (report.outcome, report.status, report.moved_aside) == (StartOutcome.CHANGED, None, ())
    assert home.files() == before


@contextmanager
def mounted(directory: Path, source: Path | None = None) -> Iterator[None]:
    """Mount a small file system on a directory, or bind-mount `source`."""
    words = ["--bind", str(source)] if source else ["-t", "tmpfs", "-o", "size=1m", "test"]
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *words, str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def find_files(home: Home) -> HomeFiles:
    server = make_server(home=str(home.path), redo_dir=str(home.redo))
    return parse_facts(run_as(None, facts_command(server, units=[]))).files


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("place", ["store", "store/redo", "etc/a b"])
@pytest.mark.parametrize("is_bind", [False, True], ids=["tmpfs", "bind"])
def test_start_script_leftover_start_moves_no_mount_point(
    home: Home, place: str, is_bind: bool
) -> None:
    home.data.mkdir()
    with mounted(home.path / place, home.data if is_bind else None):
        home.leave_failed_start()
        before = home.files()
        files = replace(find_files(home), parameters=StoredParameters())
        assert files.links == (place.partition("/")[0],)
        state = decide_home(files, SEEKDB)
        assert isinstance(state, Contradictory)
        assert f"{home.path}/{files.links[0]}/" in state.cause
        report = home.start(StartKind.LEFTOVER)
        assert (report.outcome, report.moved_aside) == (StartOutcome.CHANGED, ())
        assert home.files() == before


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_start_script_leftover_start_keeps_empty_mount_point(home: Home) -> None:
    with mounted(home.path / "store"):
        home.leave_failed_start()
        shutil.rmtree(home.path / "store/sstable")
        assert decide_home(find_files(home), SEEKDB) == FailedFirstStart("77")
        report = home.start(StartKind.LEFTOVER)
        assert report.outcome is StartOutcome.LAUNCHED
        assert [Path(path).name for path in report.moved_aside] == ["etc"]
        assert (home.path / "store").is_mount()


@pytest.mark.parametrize("is_removable", [True, False])
async def test_confirm_first_start_warns_of_a_mark_that_remains(
    home: Home, is_removable: bool
) -> None:
    mark = home.path / FIRST_START_MARKER
    mark.touch() if is_removable else mark.mkdir()
    server, context = make_server(home=str(home.path)), FakeContext(None)
    await remove_first_start_marker(context.as_context(), server, LocalRunner())
    assert mark.exists() is not is_removable
    assert [line.partition(":")[0] for line in context.lines] == ["WARN"] * (not is_removable)
    assert all(f"remove {mark} by hand" in line for line in context.lines)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root for another user")
@pytest.mark.parametrize("places", ["store", "data and redo"])
def test_first_start_ignores_lost_and_found(places: str) -> None:
    """A new file system has a directory of root that the server's user cannot read."""
    with open_directory() as root:
        home = Home(root / "home", root / "data", root / "redo")
        home.write("bin/seekdb", "#!/bin/sh\nexit 87\n").chmod(0o755)
        for path in (home.path, home.path / "store", home.data, home.redo):
            path.mkdir(exist_ok=True)
            os.chown(path, NOBODY, NOBODY)
        for path in [home.path / "store"] if places == "store" else [home.data, home.redo]:
            (path / "lost+found").mkdir(mode=0o700)
        server = make_server(
            home=str(home.path), data_dir=str(home.data), redo_dir=str(home.redo), sql_port=1
        )
        files = parse_facts(run_as_nobody(facts_command(server, units=[]))).files
        assert decide_home(files, SEEKDB, data_dir=server.data_dir) == Empty()
        command = start_command(server, "78", StartKind.FIRST)
        (home.data / "closed").mkdir(mode=0o700)  # any other unreadable directory counts
        assert parse_start(run_as_nobody(command)).outcome is StartOutcome.CHANGED
        (home.data / "closed").rmdir()
        report = parse_start(run_as_nobody(command))
        assert (report.outcome, report.status) == (StartOutcome.LAUNCHED, 87)


@pytest.mark.parametrize(
    ("change", "is_completed"),
    [
        ("behind the offset", True),
        ("before the offset", False),
        ("rotated since", True),
        ("rotated before", False),
        ("telemetry", False),  # takes precedence over the log, which is not read then
    ],
)
def test_facts_command_reads_long_log_after_offset(
    home: Home, change: str, is_completed: bool
) -> None:
    filler = "[t] INFO  [SHARE] a line of no meaning\n" * 100_000
    before = filler + (f"{BOOTED}\n" if change == "before the offset" else "")
    behind = filler + (f"{BOOTED}\n" if change in ("behind the offset", "telemetry") else "")
    log = home.write("log/seekdb.log", before + behind)
    home.write(MARKER, f"77 {log.stat().st_ino} {len(before)}\n", age=100)
    home.write("store/sstable/meta.db")
    if change.startswith("rotated"):
        name = "log/seekdb.log.20260101000000000"
        home.write(name, f"{BOOTED}\n", age=50 if change == "rotated since" else 200)
    if change == "telemetry":
        home.write("run/telemetry.json")
    files = find_files(home)
    assert files.first_start == "77"
    assert (files.boot_completed, files.has_telemetry) == (is_completed, change == "telemetry")
    files = replace(files, parameters=StoredParameters())
    is_leftover = decide_home(files, SEEKDB) == FailedFirstStart("77")
    assert is_leftover is (not is_completed and change != "telemetry")
    report = home.start(StartKind.LEFTOVER)
    assert (report.outcome is StartOutcome.LAUNCHED) is is_leftover


def test_start_script_reports_output_without_line_end(home: Home) -> None:
    program = home.write("bin/seekdb", "#!/bin/sh\nprintf 'first\nlast word'\nexit 87\n")
    program.chmod(0o755)
    report = home.start(StartKind.FIRST)
    assert (report.outcome, report.status) == (StartOutcome.LAUNCHED, 87)
    assert report.output_tail == "first last word"


@pytest.mark.parametrize("record", ["older", "missing"])
def test_start_script_leftover_start_needs_boot_record(home: Home, record: str) -> None:
    home.leave_failed_start(log_from=5)
    if record == "older":
        home.write("etc/seekdb.config.bin")
    else:
        (home.path / "store/sstable/meta.db").unlink(missing_ok=True)
        home.write("store/sstable/block_file")
    before = home.files()
    report = home.start(StartKind.LEFTOVER)
    assert (report.outcome, report.moved_aside) == (StartOutcome.CHANGED, ())
    assert home.files() == before


@pytest.mark.parametrize("data", ["elsewhere", "in store"])
def test_start_script_leftover_start_moves_files_aside(home: Home, data: str) -> None:
    home.leave_failed_start()
    home.write("store/inner/block_file")
    home.data.mkdir()
    data_dir = home.data if data == "elsewhere" else home.path / "store/inner"
    report = home.start(StartKind.LEFTOVER, data_dir=str(data_dir))
    assert (report.outcome, report.status) == (StartOutcome.LAUNCHED, 87)
    etc, store = (Path(path) for path in report.moved_aside)
    assert (etc / "seekdb.data_version.bin").read_text() == "x"
    assert (store / "sstable/meta.db").read_text() == "x"
    assert not (home.path / "etc").exists()
    inode = (home.path / "log/seekdb.log").stat().st_ino
    size = (home.path / "log/seekdb.log").stat().st_size
    assert (home.path / MARKER).read_text() == f"78 {inode} {size}\n"


def test_start_script_leftover_start_ignores_earlier_boot(home: Home) -> None:
    home.leave_failed_start()
    text = f"{BOOTED}\n"
    log = home.write("log/seekdb.log", text)
    home.write(MARKER, f"77 {log.stat().st_ino} {len(text)}\n", age=100)
    home.write("log/seekdb.log.20260101000000000", text, age=200)
    assert home.start(StartKind.LEFTOVER).outcome is StartOutcome.LAUNCHED


def test_start_script_later_start_without_record_is_refused(home: Home) -> None:
    home.write("store/redo/sys/log_stream/log/0")
    before = home.files()
    assert home.start(StartKind.LATER).outcome is StartOutcome.CHANGED
    assert home.files() == before


@pytest.mark.parametrize(
    "record", ["store/sstable/meta.db", "etc/seekdb.config.bin", "etc/meta.db"]
)
def test_start_script_later_start_passes_no_options(home: Home, record: str) -> None:
    home.write(record)
    before = home.files()
    report = home.start(StartKind.LATER, data_dir=str(home.data))
    assert report.outcome is StartOutcome.LAUNCHED
    assert report.output_tail.endswith(f" --base-dir {home.path}")
    assert home.files() == before


@pytest.mark.parametrize("kind", StartKind)
def test_start_script_doubtful_process_changes_nothing(home: Home, kind: StartKind) -> None:
    home.leave_failed_start()
    before = home.files()
    with run_server(home.path.parent, "--base-dir", str(home.path)) as process:
        report = home.start(kind)
        assert report.outcome is StartOutcome.DOUBTFUL
        assert [doubt.pid for doubt in report.doubts] == [process.pid]
    assert home.files() == before


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (StartKind.LEFTOVER, "mkdir"),
        (StartKind.LEFTOVER, "mv"),
        (StartKind.FIRST, "mv"),
    ],
)
def test_start_script_hung_file_change_keeps_lock(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: StartKind, command: str
) -> None:
    """The command that hangs is a child of this one, so SIGKILL to this one does not end it."""
    if kind is StartKind.LEFTOVER:
        home.leave_failed_start()
    hung_pid = tmp_path / "pid"
    program = tmp_path / "programs" / command
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! >'{hung_pid}'\nwait\n")
    program.chmod(0o755)
    before = home.files()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        report = home.start(kind, limit_s=10)
    assert (report.outcome, report.status, report.moved_aside) == (StartOutcome.STUCK, None, ())
    assert report.stuck_pid is not None
    remaining = {name: text for name, text in home.files().items() if name in before}
    assert remaining | {"pid": b""} == before | {"pid": b""}
    pid = int(hung_pid.read_text())
    try:
        waiting = wait_for_lock_command(str(home.path), limit_s=1)
        report = parse_probe(run_as(None, waiting))
        assert (report.outcome, report.lock_holder) == (ProbeOutcome.UNKNOWN, f"sleep, pid {pid}")
    finally:
        os.kill(pid, signal.SIGKILL)
    report = parse_probe(run_as(None, waiting))
    assert (report.outcome, report.lock_holder) == (ProbeOutcome.DONE, "")


def test_start_script_locked_home_names_holder(home: Home) -> None:
    with subprocess.Popen(
        ["flock", str(home.path), "sh", "-c", "echo; read -r word"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        report = home.start(StartKind.FIRST, limit_s=10)
        assert report.outcome is StartOutcome.LOCKED
        assert report.lock_holder == f"flock, pid {process.pid}"


def test_start_script_launch_that_does_not_end_is_killed(home: Home) -> None:
    """The program ignores SIGTERM and never becomes a daemon."""
    program = home.path / "bin/seekdb"
    program.unlink()
    shutil.copy(Path("/bin/sh").resolve(), program)
    server = make_server(home=str(home.path), redo_dir=str(home.redo))
    command = start_command(server, "78", StartKind.FIRST, limit_s=10)
    index = command.argv.index("--base-dir")
    hanging = ("-c", "trap '' TERM; while :; do sleep 0.1; done")
    command = replace(command, argv=(*command.argv[:index], *hanging))
    report = parse_start(run_as(None, command, limit_s=10))
    assert (report.outcome, report.process) == (StartOutcome.LAUNCHED, None)
    assert report.status == 128 + signal.SIGKILL


def test_start_limits_fit_into_each_other(tmp_path: Path) -> None:
    """A step outlives its script, and a cancelled step can wait until the script has ended."""
    confirm_timeout_s = inspect.signature(Engine).parameters["confirm_timeout_s"].default
    waiting_s = int(wait_for_lock_command("/home").argv[-2])
    assert START_DEADLINE_S <= waiting_s < confirm_timeout_s
    (tmp_path / "cluster.yaml").write_text(
        "name: c\nid: 1\nflavour: seekdb\nroot_password: none\n"
        "zones: {z: [{ip: 127.0.0.1, home: /home}]}\n"
    )
    cluster = ClusterFile(tmp_path / "cluster.yaml", FLAVOURS)
    operation = start_operation(ClusterAccess(cluster, LocalRunnerPool(), SystemClock()))
    (stage,) = (stage for stage in operation.stages if stage.name == START)
    assert stage.timeout_s is not None
    assert stage.timeout_s > 2 * START_DEADLINE_S  # a lost command is repeated once


async def test_start_script_terminated_in_mktemp_leaves_no_file(home: Home, tmp_path: Path) -> None:
    directory, programs = tmp_path / "tmp", tmp_path / "programs"
    directory.mkdir()
    programs.mkdir()
    mktemp, mktemp_calls = programs / "mktemp", tmp_path / "calls"
    mktemp.write_text(
        f"#!/bin/sh\n: >'{mktemp_calls}'\n"
        f'name=$({shutil.which("mktemp")} "$@") && kill -s TERM 0 && echo "$name"\n'
    )
    mktemp.chmod(0o755)
    server = make_server(home=str(home.path), redo_dir=str(home.redo))
    command = start_command(server, "78", StartKind.FIRST)

    process = await asyncio.create_subprocess_exec(
        *command.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(directory)},
        start_new_session=True,
    )
    await process.communicate()

    async def is_empty() -> bool:
        return list(directory.iterdir()) == []

    # A signal during a command substitution ends the script; its subshell removes the file.
    await eventually(is_empty, what="the removal of the temporary file")
    assert mktemp_calls.exists()


@pytest.mark.parametrize(("bytes_", "omitted"), [(4096, None), (4097, 1), (2_000_000, 1_995_904)])
def test_start_script_reports_both_ends_of_long_output(
    home: Home, bytes_: int, omitted: int | None
) -> None:
    script = (
        f"#!/bin/sh\nprintf A\nhead -c {bytes_ - 2} /dev/zero | tr '\\0' y\nprintf Z\nexit 87\n"
    )
    home.write("bin/seekdb", script).chmod(0o755)
    report = home.start(StartKind.FIRST)
    assert (report.outcome, report.status) == (StartOutcome.LAUNCHED, 87)
    output = report.output_tail
    assert (output[0], output[-1]) == ("A", "Z")
    if omitted is None:
        assert len(output) == bytes_
    else:
        assert output[2048:-2048] == f" [… {omitted:,} bytes omitted …] "
