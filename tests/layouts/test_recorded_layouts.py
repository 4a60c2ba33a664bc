"""Every recorded layout with every action: the decision, and proof that the data is unchanged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.hosts.home_state import StartKind
from tasks.hosts.reports import StartOutcome, StopOutcome
from tasks.preflight.decide import Blocked, Decision, Start
from tests.layouts.actions import DAG, MARKER, Actions, name_decision, write_marker
from tests.layouts.recording import read_recording, recording_names
from tests.layouts.restore import restore


@dataclass(frozen=True)
class Expected:
    """The expected decision about a layout.

    Attributes:
        start: kind of the start, or `blocked`.
        message_parts: parts of the refusal's message; `@` is the root of the restored home.
        remedy: a part of its remedy.
        check: the check of `doctor` that shows the refusal.
        is_marked: a first start by this product has left its marker there.
        is_proved_by_record: only meta.db proves a complete boot, and no script reads it.
    """

    start: str
    message_parts: tuple[str, ...] = ()
    remedy: str = ""
    check: str = "first-start"
    is_marked: bool = False
    is_proved_by_record: bool = False


LATER = Expected("later")
_DATA_ELSEWHERE = Expected("blocked", ("@/home/store", "@/disk/data"), "data_dir")
_REDO_EMPTY = Expected("blocked", ("store/redo", "is empty"), "restore it")
_LEFTOVER = Expected("leftover", is_marked=True)

EXPECTED: dict[str, Expected] = {
    "completed_boot_obd": LATER,
    "by_hand_absolute": LATER,
    "by_hand_relative": LATER,
    "no_base_dir": LATER,
    "log_removed": LATER,
    "moved_home": LATER,
    "moved_home_link": LATER,
    "data_elsewhere": LATER,
    "redo_elsewhere": LATER,
    "data_and_redo_elsewhere_silent": LATER,
    "restored_from_backup": LATER,
    "read_only": LATER,  # for root; see test_checks.py for the check `writable`
    "older_version": LATER,
    "never_started": Expected("first"),
    "behind_changed_link": Expected("blocked", ("@/link/bin/seekdb",), "install", "program"),
    "wrong_directories": Expected("blocked", ("@/disk/data", "@/other/data"), "data_dir"),
    "one_level_off": Expected("blocked", ("@/disk/data,", "@/disk"), "data_dir"),
    "data_named_later": _DATA_ELSEWHERE,
    "both_named_later": _DATA_ELSEWHERE,
    "redo_named_later": Expected("blocked", ("@/home/store/redo", "@/disk/redo"), "redo_dir"),
    "data_not_mounted": Expected("blocked", ("@/disk/data/redo", "is empty"), "mount"),
    "store_link_empty": Expected("blocked", ("@/disk/data/redo", "is empty"), "mount"),
    "store_link_dangling": Expected("blocked", ("link store", "does not exist"), "mount"),
    "other_flavour": Expected("blocked", ("another flavour", "observer"), "flavour"),
    "foreign_files": Expected("blocked", ("@/home/etc/notes.txt",), "by hand"),
    # Without a marker it is unknown whether a first or a later start has written these.
    "half_initialised": LATER,
    "half_initialised_restarted": LATER,
    "failed_port_taken": LATER,
    "killed_early": Expected("blocked", ("@/home/store/sstable/meta.db",), "by hand"),
    "failed_log_disk": _REDO_EMPTY,
    "failed_disk_full": _REDO_EMPTY,
    "half_initialised marked": _LEFTOVER,
    "killed_early marked": _LEFTOVER,
    "failed_log_disk marked": _LEFTOVER,
    "failed_disk_full marked": _LEFTOVER,
    # The telemetry file is written before the last step of the boot.
    "failed_port_taken marked": Expected("later", is_marked=True),
    "half_initialised_restarted marked": Expected("later", is_marked=True),
    # The marker of a start that succeeded and was never confirmed.
    "log_removed marked": Expected("later", is_marked=True),
    "restored_from_backup marked": Expected("later", is_marked=True, is_proved_by_record=True),
}
# The servers are stopped in all layouts. Every cluster file names the flavour seekdb, which has no
# stop by SQL; a freeze needs a running server.
PLANNED_STOPS = {
    "plain": "OB.Cluster.ForceStopOrTerminateRequired",
    "terminate": "OB.Cluster.ForceStopRequired",
    "force": "nothing",
}
_MOVED = ("home/etc/", "home/store/")

QUICK = {
    "completed_boot_obd",
    "moved_home",
    "data_elsewhere",
    "never_started",
    "wrong_directories",
    "redo_named_later",
    "data_not_mounted",
    "other_flavour",
    "killed_early",
    "half_initialised marked",
    "failed_disk_full marked",
    "failed_port_taken marked",
}
"""Layouts of the quick tests: each kind of start, and each kind of refusal."""


@dataclass(frozen=True)
class LayoutCase:
    """One restored layout, and a process whose pid is in its pid file."""

    actions: Actions
    expected: Expected
    sleeper: subprocess.Popen[bytes]

    def expand_root(self, text: str) -> str:
        return text.replace("@", str(self.actions.restored.root))


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in EXPECTED
    ]
)
def layout_case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LayoutCase]:
    expected = EXPECTED[request.param]
    recording = read_recording(request.param.removesuffix(" marked"))
    arguments, program = tmp_path / "arguments", tmp_path / "program/seekdb"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >>'{arguments}'\nexit 87\n")
    program.chmod(0o755)
    with ExitStack() as stack:
        sleeper = stack.enter_context(subprocess.Popen(["sleep", "600"], cwd=tmp_path))
        stack.callback(sleeper.kill)
        restored = restore(recording, tmp_path / "root", program=program, pid=sleeper.pid)
        if expected.is_marked:
            write_marker(restored)
        yield LayoutCase(Actions(restored, arguments), expected, sleeper)
        assert sleeper.poll() is None, "a process was ended for its pid alone"


def test_expectations_cover_every_recording() -> None:
    assert {name.removesuffix(" marked") for name in EXPECTED} == set(recording_names())


async def test_decisions_about_layout_change_nothing(layout_case: LayoutCase) -> None:
    """Run a dry run, doctor, three ways to stop, and rollback; then check that nothing changed."""
    actions, expected = layout_case.actions, layout_case.expected
    before = actions.list_files()
    decision = await actions.decide_start()
    assert_expected(decision, layout_case)
    is_blocked = expected.start == "blocked"
    assert await actions.dry_run() == (expected.start if is_blocked else f"start {expected.start}")
    examined = await actions.examine()
    assert (expected.check in examined.split()) if is_blocked else examined == "well"
    stop = await actions.decide_stop()
    assert name_decision(stop) == "nothing", stop
    plans = {mode: await actions.plan_stop(mode) for mode in PLANNED_STOPS}
    assert plans == PLANNED_STOPS
    for marker in ("", DAG):
        report = await actions.stop(marker=marker)
        assert (report.outcome, report.process) == (StopOutcome.GONE, None)
    assert actions.list_files() == before


async def test_start_of_layout_keeps_data(layout_case: LayoutCase) -> None:
    """Run a start and a RETRY by the real script, with a program that fails."""
    actions, expected = layout_case.actions, layout_case.expected
    before = actions.list_files()
    decision = await actions.decide_start()
    assert_expected(decision, layout_case)
    for kind in StartKind:
        if not (isinstance(decision, Start) and kind is decision.kind):
            await assert_refused(actions, kind, expected)
    assert changed(before, actions.list_files()) == set()
    if not isinstance(decision, Start):
        assert not actions.arguments.exists()
        return
    report = await actions.start(decision.kind)
    assert (report.outcome, report.status) == (StartOutcome.LAUNCHED, 87)
    after = actions.list_files()
    has_options = "--port" in actions.arguments.read_text().splitlines()
    assert has_options is (decision.kind is not StartKind.LATER)
    if decision.kind is StartKind.LEFTOVER:
        assert_moved_aside(before, after)
    else:
        assert changed(before, after) <= {f"home/{MARKER}"}
        assert report.moved_aside == ()
    second_decision = await actions.decide_start()
    retried = StartKind.LATER if decision.kind is StartKind.LATER else StartKind.FIRST
    assert name_decision(second_decision) == retried
    assert (await actions.start(retried)).outcome is StartOutcome.LAUNCHED
    assert changed(after, actions.list_files()) <= {f"home/{MARKER}"}


def assert_expected(decision: Decision, layout_case: LayoutCase) -> None:
    assert name_decision(decision) == layout_case.expected.start, decision
    if isinstance(decision, Blocked):
        missing = [
            text
            for text in layout_case.expected.message_parts
            if layout_case.expand_root(text) not in decision.message
        ]
        assert missing == [], decision.message
        assert layout_case.expected.remedy in decision.remedy
        assert decision.remedy


async def assert_refused(actions: Actions, kind: StartKind, expected: Expected) -> None:
    """Check that the script rejects a wrong decision about a home that holds data."""
    if kind is StartKind.LATER or expected.start in ("first", "leftover"):
        return
    if not actions.restored.home.samefile(actions.server.home):
        return  # a different home than the one with the data
    if kind is StartKind.LEFTOVER and expected.is_proved_by_record:
        return
    report = await actions.start(kind)
    assert report.outcome is StartOutcome.CHANGED
    assert report.moved_aside == ()


def assert_moved_aside(
    before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]
) -> None:
    """Check that the files of etc/ and store/ moved to a new directory; all else is unchanged."""
    moved_files = {name for name in before if name.startswith(_MOVED)}
    assert changed(before, after) - moved_files - {f"home/{MARKER}"} == set()
    (aside,) = {name.split("/")[1] for name in after.keys() - before.keys()} - {MARKER}
    assert aside.startswith("failed-start-")
    for name in moved_files:
        assert after[name.replace("home/", f"home/{aside}/", 1)] == before[name]


def changed(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> set[str]:
    """Return the missing or different paths, without the controlled program's log."""
    return {
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    } - {
        name
        for name in after.keys() - before.keys()
        if name.split("/")[1].startswith("failed-start")
    }
