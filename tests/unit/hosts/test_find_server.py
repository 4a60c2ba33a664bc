"""Search for the server process of a home: the script, run on fake processes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.flavours.seekdb import SEEKDB
from tasks.hosts.commands import (
    facts_command,
    probe_command,
    process_command,
    start_command,
    stop_command,
)
from tasks.hosts.facts import parse_alive, parse_facts, parse_process
from tasks.hosts.home_state import StartKind
from tasks.hosts.identity import (
    Doubt,
    DoubtKind,
    Obstacle,
    ProcessIdentity,
    explain_doubt,
    parse_doubts,
)
from tasks.hosts.output import parse_lines
from tasks.hosts.process_age import parse_process_age_s
from tasks.hosts.reports import StartOutcome, StopOutcome, parse_start, parse_stop
from tasks.preflight.decide import Blocked
from tasks.preflight.decide_stop import Stop, decide_stop
from tests.support.factories import make_server
from tests.support.fake_servers import NOBODY, SAYS_READY, open_directory, run_as, run_server

_OTHER_USER = NOBODY - 1


def find(home: Path, user: int | None = None) -> tuple[ProcessIdentity | None, list[Doubt]]:
    output = run_as(user, process_command(SEEKDB, str(home)))
    assert output.endswith("end=yes\n")
    return parse_process(output), list(parse_doubts(parse_lines(output)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home with 'odd' $name"
    (path / "run").mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--port", "2881"),
        ("--base-dir", "."),
        ("--base-dir=../gone",),
        ("--base-dir", "/else"),
        ("--base-dir", "{link}"),
    ],
    ids=" ".join,
)
def test_find_server_identifies_by_working_directory(home: Path, words: tuple[str, ...]) -> None:
    link = home.with_name("link")
    link.symlink_to(home)
    with run_server(home, *(word.format(link=link) for word in words)) as process:
        link.unlink()
        link.symlink_to("/")
        server, doubts = find(home)
        assert server is not None
        assert (server.pid, server.owner, server.by) == (process.pid, os.getuid(), "77")
        assert doubts == []


def test_find_server_link_to_home_is_followed(home: Path) -> None:
    link = home.with_name("link")
    link.symlink_to(home)
    with run_server(home) as process:
        server, _ = find(link)
        assert server is not None
        assert server.pid == process.pid
        age_s = parse_process_age_s(run_as(None, process_command(SEEKDB, str(link))))
        assert age_s is not None
        assert 0 <= age_s < 3600


@pytest.mark.parametrize("style", ["two words", "one word", "relative", "link", "given path"])
def test_find_server_base_dir_at_home_is_doubtful(home: Path, style: str) -> None:
    elsewhere = home.with_name("elsewhere")
    elsewhere.mkdir()
    link = home.with_name("link")
    link.symlink_to(home)
    words = {
        "two words": ("--base-dir", f"{home}/run/.."),
        "one word": (f"--base-dir={home}/.",),
        "relative": ("--base-dir", f"../{home.name}"),
        "link": ("--base-dir", str(link)),
        "given path": ("--port", "1", "--base-dir", str(home)),
    }[style]
    with run_server(elsewhere, *words) as process:
        base = words[-1].removeprefix("--base-dir=")
        doubt = Doubt(DoubtKind.BASE, process.pid, str(elsewhere), base)
        assert find(home) == (None, [doubt])


def test_find_server_changed_link_is_doubtful(home: Path) -> None:
    link, after = home.with_name("link"), home.with_name("after")
    after.mkdir()
    link.symlink_to(home)
    with run_server(home, "--base-dir", str(link)) as process:
        link.unlink()
        link.symlink_to(after)
        assert find(link) == (None, [Doubt(DoubtKind.BASE, process.pid, str(home), str(link))])
        server, _ = find(home)
        assert server is not None


@pytest.mark.parametrize("change", ["moved", "replaced", "link", "none"])
def test_stop_with_freeze_of_a_moved_home_is_refused(tmp_path: Path, change: str) -> None:
    """The server opens files below the resolved path of its base directory at start-up."""
    before, after, link = tmp_path / "before", tmp_path / "after", tmp_path / "link"
    before.mkdir()
    link.symlink_to(before)
    is_moved = change in ("moved", "replaced")
    with run_server(before, "--base-dir", str(link if change == "link" else before)) as process:
        home = str(before.rename(after) if is_moved else before)
        link.unlink()
        link.symlink_to("/")
        if change == "replaced":
            before.mkdir()
        server = make_server(home=home)
        facts = parse_facts(run_as(None, facts_command(server, units=[])))
        assert facts.process is not None
        assert (facts.process.pid, facts.doubts) == (process.pid, ())
        assert decide_stop(facts, home=home) == Stop(facts.process)
        decision = decide_stop(facts, home=home, with_freeze=True)
        if not is_moved:
            assert decision == Stop(facts.process)
            return
        assert isinstance(decision, Blocked)
        missing = {f"pid {process.pid}", str(before), str(after)}
        assert {text for text in missing if text not in decision.message} == set()
        assert decision.remedy == f"move {after} back to {before}, or stop the server with force"


def test_find_server_ignores_pid_file_of_other_program(home: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=home) as sleeper:
        (home / "run" / "seekdb.pid").write_text(str(sleeper.pid))
        assert find(home) == (None, [])
        sleeper.kill()


@pytest.mark.parametrize("is_open", [True, False])
def test_find_server_open_pid_file_is_doubtful(home: Path, is_open: bool) -> None:
    file, other = home / "run" / "seekdb.pid", home.with_name("elsewhere")
    (other / "run").mkdir(parents=True)
    (other / "run" / "seekdb.pid").touch()
    open_file = file if is_open else other / "run" / "seekdb.pid"
    text = f"exec 5>{shlex.quote(str(open_file))}; {SAYS_READY}"
    with run_server(other, text=text) as process:
        file.write_text(str(process.pid))
        doubt = Doubt(DoubtKind.PID_FILE, process.pid, str(other))
        assert find(home) == (None, [doubt] if is_open else [])


def test_find_server_other_flavour_is_doubtful(home: Path) -> None:
    with run_server(home, program="observer") as process:
        assert find(home) == (None, [Doubt(DoubtKind.FLAVOUR, process.pid, str(home))])


@pytest.mark.parametrize("name", ["seekdb2", "a seekdb", "vim"])
def test_find_server_ignores_other_programs(home: Path, name: str) -> None:
    with run_server(home, program=name):
        assert find(home) == (None, [])


@pytest.mark.parametrize("base", [".", "{home}"])
def test_find_server_other_program_name_is_doubtful(home: Path, base: str) -> None:
    with run_server(home, "--base-dir", base.format(home=home), program="seekdb-1.4") as process:
        server, doubts = find(home)
        assert server is None
        assert [(doubt.kind, doubt.pid) for doubt in doubts] == [(DoubtKind.PROGRAM, process.pid)]


def test_find_server_program_behind_link_is_identified(home: Path) -> None:
    installed = home.with_name("installed-seekdb-1.4")
    shutil.copy(Path("/bin/sh").resolve(), installed)
    (home / "bin").mkdir()
    (home / "bin" / "seekdb").symlink_to(installed)
    with subprocess.Popen(
        [installed, "-c", SAYS_READY], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        server, doubts = find(home)
        assert server is not None
        assert (server.pid, doubts) == (process.pid, [])


@pytest.mark.parametrize(
    "style", ["upgraded", "other comm", "link", "link upgraded", "link elsewhere", "hard link"]
)
def test_find_server_executable_identifies_program(home: Path, style: str) -> None:
    """Whatever the process is called, even in two lines, and whatever happened to the file."""
    name = "seekdb" if style in ("upgraded", "other comm") else "seekdb-1.4"
    executable, program = home / "bin" / name, home / "bin" / "seekdb"
    executable.parent.mkdir()
    shutil.copy(Path("/bin/sh").resolve(), executable)
    if style.startswith("link"):
        program.symlink_to(name)
    elif style == "hard link":
        program.hardlink_to(executable)
    (home / "run" / "seekdb").symlink_to(executable)
    text = f"echo other >/proc/self/comm; {SAYS_READY}" if style == "other comm" else SAYS_READY
    words = [program if style.startswith("link") else executable, "-c", text]
    with subprocess.Popen(
        words, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if "upgraded" in style:
            executable.unlink()
            executable.with_name("seekdb-1.5").touch()
        if style == "link upgraded":
            program.unlink()
            program.symlink_to("seekdb-1.5")
        elif style == "link elsewhere":
            program.unlink()
            program.symlink_to("/bin/true")
        server, doubts = find(home)
        assert doubts == []
        assert server is not None
        assert server.pid == process.pid
        assert parse_alive(run_as(None, probe_command(server.pid, server.started, 1))).is_alive


@pytest.mark.parametrize("interpreter", ["/bin/sh", sys.executable])
@pytest.mark.parametrize("program", ["seekdb", "observer"])
def test_find_server_script_with_its_name_is_doubtful(
    home: Path, interpreter: str, program: str
) -> None:
    """An interpreter may do anything: it is neither ended nor reported as the running server."""
    line = f"#!{interpreter} -P" if "python" in interpreter else f"#!{interpreter}"
    text = "print('ready', flush=True); input()" if "python" in interpreter else SAYS_READY
    script = home / program
    script.write_text(f"{line}\n{text}\n")
    script.chmod(0o755)
    executable = str(Path(interpreter).resolve())
    with subprocess.Popen(
        [script], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Path(f"/proc/{process.pid}/comm").read_text().strip() == program
        doubt = Doubt(DoubtKind.NAME, process.pid, str(home), program=executable)
        assert find(home) == (None, [doubt])
        server = make_server(home=str(home))
        stop = parse_stop(run_as(None, stop_command(server, 1)))
        assert (stop.outcome, stop.process, stop.doubts) == (StopOutcome.DOUBTFUL, None, (doubt,))
        start = parse_start(run_as(None, start_command(server, "78", StartKind.FIRST)))
        assert (start.outcome, start.doubts) == (StartOutcome.DOUBTFUL, (doubt,))
        assert process.poll() is None
        cause, remedy = explain_doubt(doubt, str(home))
        assert all(word in cause for word in (str(process.pid), str(home), executable))
        assert f"pid {process.pid}" in remedy


def test_find_server_does_not_read_pid_file_that_is_pipe(home: Path) -> None:
    os.mkfifo(home / "run" / "seekdb.pid")
    elsewhere = home.with_name("elsewhere")
    elsewhere.mkdir()
    with run_server(elsewhere):
        assert find(home) == (None, [])


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make processes of other users")
def test_find_server_process_of_non_owner_is_doubtful() -> None:
    with open_directory() as home, run_server(home, user=NOBODY) as process:
        server, doubts = find(home)
        assert server is None
        assert [(doubt.kind, doubt.pid) for doubt in doubts] == [(DoubtKind.OWNER, process.pid)]
        os.chown(home, NOBODY, NOBODY)
        server, doubts = find(home)
        assert server is not None
        assert (server.pid, doubts) == (process.pid, [])


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_process_command_inaccessible_home_is_unanswered() -> None:
    with open_directory() as parent:
        home = parent / "home"
        home.mkdir()
        parent.chmod(0o700)
        output = run_as(NOBODY, process_command(SEEKDB, str(home)))
        assert output.splitlines()[-1] == f"unanswered={home}"
        home.rmdir()
        assert find(home) == (None, [])


def test_find_server_ignores_zombie(home: Path) -> None:
    with run_server(home) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}/stat").exists()
        assert find(home) == (None, [])


def test_find_server_output_has_one_value_per_line(home: Path) -> None:
    elsewhere = home.with_name("else\nwhere\\npid=6")
    elsewhere.mkdir()
    base = f"{home}/.\npid=5\nstarted=5"
    Path(base).mkdir(parents=True, exist_ok=True)
    words = (f"--base-dir={home}/.", "--base-dir=pid=5", "--base-dir=x\nstarted=5")
    with (
        run_server(elsewhere, *words),
        run_server(home, by="1\nDAGENGINE_START=pid=7\\nowner=0") as process,
    ):
        server, doubts = find(home)
        assert server is not None
        assert (server.pid, server.owner) == (process.pid, os.getuid())
        assert [doubt.base for doubt in doubts] == [f"{home}/."]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make processes of other users")
@pytest.mark.parametrize("may_write", [True, False])
def test_find_server_process_of_other_user_is_unexamined(may_write: bool) -> None:
    with open_directory() as home:
        home.chmod(0o777 if may_write else 0o755)
        os.chown(home, NOBODY, NOBODY)
        with run_server(Path("/"), user=_OTHER_USER) as process:
            server, doubts = find(home, NOBODY)
            assert server is None
            about_it = [doubt for doubt in doubts if doubt.pid == process.pid]
            assert about_it == (
                [make_denied_doubt(process.pid, str(_OTHER_USER))] if may_write else []
            )


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")
def test_start_beside_a_server_of_root_names_the_obstacle() -> None:
    """Any process of root may be the server of any home, and another login cannot examine it."""
    with open_directory() as root, run_server(Path("/")) as process:
        home = root / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        command = start_command(make_server(home=str(home)), "78", StartKind.FIRST)
        report = parse_start(run_as(NOBODY, command))
        assert report.outcome is StartOutcome.DOUBTFUL
        (doubt,) = (doubt for doubt in report.doubts if doubt.pid == process.pid)
        assert doubt == make_denied_doubt(process.pid, "root")
        cause, remedy = explain_doubt(doubt, str(home))
        assert cause == (
            f"seekdb of user root (pid {process.pid}) may be the server of {home}, but could not"
            " be examined: this login may not read its working directory"
        )
        assert remedy == (
            f"log in as root (`ssh.user`), set `ssh.sudo: root`, or stop pid {process.pid} by hand"
        )
        assert list(home.iterdir()) == []


def make_denied_doubt(pid: int, user: str) -> Doubt:
    """The doubt about a fake server whose working directory this login may not read."""
    return Doubt(DoubtKind.UNEXAMINED, pid, obstacle=Obstacle.DENIED, user=user, program="seekdb")
