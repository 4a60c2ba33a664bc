"""The checks of stage 2: the cases in tests/cases/checks, skipping, and the page about them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docs.generate import PAGES, render_checks
from tasks.hosts.facts import Disk, HostFacts, clock_difference_s
from tasks.hosts.home_state import Directory, HomeFiles, Place, StoredParameters
from tasks.hosts.identity import Doubt, DoubtKind, Listener, ProcessIdentity
from tasks.preflight.checks import CHECKS, find_skip_problem, run_checks
from tasks.preflight.decide import Blocked, Decision, NoOp, Start, decide_start
from tasks.preflight.inspect import describe_check_results, render_check_results
from tasks.preflight.management import find_other_manager
from tasks.preflight.registry import CheckRegistry
from tasks.preflight.result import CheckResult, Finding, Severity, SkipPolicy, StartTarget
from tests.made_server import make_server

CASES = sorted((Path(__file__).parents[1] / "cases" / "checks").glob("*.json"))

# A host on which nothing stands in the way of a first start.
GOOD = HostFacts(
    complete=True,
    uid=1000,
    boot="boot",
    home="directory",
    home_owner=1000,
    home_writable=True,
    binary_present=True,
    binary_executable=True,
    has_tools=True,
    process=None,
    disks=(Disk("/home/x/seekdb", "/dev/a", 50_000_000_000),),
    open_files=655_350,
    processes=655_350,
    core_bytes=-1,
    aio_max=1_048_576,
    aio_used=0,
    total_bytes=32 << 30,
    available_bytes=16 << 30,
)


def facts_of(given: dict[str, Any]) -> HostFacts:
    """What JSON cannot say is put into the types of the facts."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    if "process" in given:
        fields["process"] = ProcessIdentity(**given["process"])
    if "disks" in given:
        fields["disks"] = tuple(Disk(**disk) for disk in given["disks"])
    if "foreign" in given:
        fields["foreign"] = tuple((whose, path) for whose, path in given["foreign"])
    if "listeners" in given:
        fields["listeners"] = {
            int(port): tuple(Listener(**each) for each in listeners)
            for port, listeners in given["listeners"].items()
        }
    if "doubts" in given:
        fields["doubts"] = tuple(
            Doubt(**{**doubt, "kind": DoubtKind(doubt["kind"])}) for doubt in given["doubts"]
        )
    if "files" in given:
        fields["files"] = files_of(given["files"])
    return replace(GOOD, **fields)


def files_of(given: dict[str, Any]) -> HomeFiles:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    if "places" in given:
        fields["places"] = {
            Place(name): Directory(place["identity"], place["path"], tuple(place["files"]))
            for name, place in given["places"].items()
        }
    if "parameters" in given:
        fields["parameters"] = StoredParameters(**given["parameters"])
    return HomeFiles(**fields)


def decision_of(case: dict[str, Any]) -> Decision:
    given = case["given"]
    wish = StartTarget(make_server(**given.get("server", {})), given.get("other_programs", {}))
    return decide_start(facts_of(given.get("facts", {})), wish, given.get("skip", ()))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_case_is_decided_as_its_file_says(file: Path) -> None:
    case = json.loads(file.read_text())
    then, decision = case["then"], decision_of(case)
    told = [v for v in decision.check_results if v.level is not Severity.OK]
    assert [f"{v.check} {v.level}" for v in told] == then["told"]
    match decision:
        case Blocked(code, message, remedy):
            assert then["decision"] == "blocked"
            assert code == then.get("code", code)
            assert [part for part in then.get("says", ()) if part not in message] == []
            assert [part for part in then.get("remedy", ()) if part not in remedy] == []
        case NoOp(reason, process):
            assert then["decision"] == "no-op"
            assert f"pid {process.pid}" in reason
        case Start(kind):
            assert (then["decision"], then["kind"]) == ("start", kind)
    for part in then.get("says_warn", ()):
        assert any(part in v.cause for v in told if v.level is Severity.WARN)
    assert all(v.cause and v.remedy for v in told)


def test_every_check_has_a_case_in_which_it_is_not_well() -> None:
    told = {
        line.split()[0] for file in CASES for line in json.loads(file.read_text())["then"]["told"]
    }
    assert told == {check.name for check in CHECKS}


def test_a_host_without_a_fault_passes_every_check() -> None:
    check_results = run_checks(GOOD, StartTarget(make_server()))
    assert [v.check for v in check_results] == [check.name for check in CHECKS]
    assert {v.level for v in check_results} == {Severity.OK}


@pytest.mark.parametrize("check", list(CHECKS), ids=lambda check: check.name)
def test_a_check_is_skipped_by_its_name_unless_it_would_do_harm(check: Any) -> None:
    wrong = find_skip_problem(["memory", check.name])
    assert (wrong is None) == (check.skip is not SkipPolicy.NO)
    assert wrong is None or f"'{check.name}' cannot be skipped" in wrong


def test_an_unknown_check_is_refused_and_the_known_ones_are_named() -> None:
    wrong = find_skip_problem(["no-such"])
    assert wrong is not None
    assert "'no-such'" in wrong
    assert all(check.name in wrong for check in CHECKS)


def test_what_would_do_harm_cannot_be_skipped() -> None:
    never = {check.name for check in CHECKS if check.skip is SkipPolicy.NO}
    assert never == {
        *("file-systems", "tools", "home", "process", "manager", "program"),
        *("first-start", "stored-port"),
    }


def registry_with_uptime_check() -> CheckRegistry:
    """A copy of the registry with one more check."""
    checks = CheckRegistry(CHECKS)

    @checks.check(
        "uptime",
        examines="the host has been up for a minute",
        severity=Severity.BLOCK,
        remedy="wait for a minute",
    )
    def check_uptime(facts: HostFacts, _start_target: StartTarget) -> Finding | None:
        return Finding(f"the host {facts.boot} was booted just now")

    return checks


def test_added_check_runs_after_the_others() -> None:
    target = StartTarget(make_server())
    last = registry_with_uptime_check().run(GOOD, target)[-1]
    cause, remedy = "the host boot was booted just now", "wait for a minute"
    code = "Common.IllegalArgument"
    assert last == CheckResult("uptime", Severity.BLOCK, cause, remedy, code)
    assert "uptime" not in {result.check for result in run_checks(GOOD, target)}


def test_added_check_blocks_a_start_until_skipped() -> None:
    checks, target = registry_with_uptime_check(), StartTarget(make_server())
    decision = decide_start(GOOD, target, checks=checks)
    assert isinstance(decision, Blocked)
    assert decision.remedy == "wait for a minute (or start with --skip-check uptime)"
    assert checks.find_skip_problem(["uptime"]) is None
    assert isinstance(decide_start(GOOD, target, ["uptime"], checks), Start)


def test_added_check_is_documented() -> None:
    page = render_checks(registry_with_uptime_check())
    row = "| uptime | the host has been up for a minute | block | yes | wait for a minute |\n"
    assert page == render_checks() + row


def test_two_checks_with_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two checks have the name 'file-systems'"):
        CheckRegistry(CHECKS, CHECKS)


def test_a_stop_is_refused_for_what_somebody_else_looks_after() -> None:
    process = ProcessIdentity("boot", 1, 2, 1000, "77")
    running = replace(GOOD, process=process)
    assert find_other_manager(running) is None
    assert find_other_manager(replace(running, obshell=5)) is not None
    in_unit = replace(running, groups=("0::/system.slice/db.service",))
    assert find_other_manager(in_unit) is not None


@pytest.mark.parametrize(
    ("asked", "now", "answered", "off"),
    [
        (1000.0, 1000, 1000.0, 0.0),
        (1000.0, 1050, 1100.0, 0.0),
        (1000.0, 500, 1100.0, -0.5),
        (1000.0, 1600, 1100.0, 0.5),
    ],
)
def test_a_clock_is_off_only_by_what_the_answers_way_cannot_explain(
    asked: float, now: int, answered: float, off: float
) -> None:
    assert clock_difference_s(asked, now, answered) == off


def test_lines_name_the_server_the_check_and_what_to_do() -> None:
    check_results = [
        CheckResult("a", Severity.OK),
        CheckResult("b", Severity.BLOCK, "cause b", "do b", "X"),
        CheckResult("c", Severity.BLOCK, "cause c", "do c", "X"),
        CheckResult("d", Severity.WARN, "cause d", "do d"),
        CheckResult("e", Severity.SKIPPED, "cause e", "do e"),
    ]
    assert render_check_results("s", check_results, but_first_block=True) == [
        "WARN: s: also blocked by [c] cause c; do c",
        "WARN: s: [d] cause d; do d",
        "WARN: s: skipped on request: [e] cause e; do e",
    ]
    told = describe_check_results(check_results)["checks"]
    assert [entry["check"] for entry in told] == ["b", "c", "d", "e"]
    assert describe_check_results(check_results[:1]) == {}


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_what_the_tables_say(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / name
    present = page.read_text(encoding="utf-8")
    assert present == PAGES[name](present)
