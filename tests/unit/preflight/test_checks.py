"""The checks of stage 2: the cases in tests/cases/checks, skipping, and the page about them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagengine import FencingToken
from docs.generate import PAGES, render_checks
from tasks.hosts.facts import Disk, HostFacts, clock_difference_s
from tasks.hosts.fence import FenceRecord, HomeFence
from tasks.hosts.home_state import Directory, HomeFiles, Place, StoredParameters
from tasks.hosts.identity import Doubt, DoubtKind, Listener, ProcessIdentity, TcpConnection
from tasks.preflight.checks import CHECKS, find_skip_problem, run_checks
from tasks.preflight.decide import Blocked, Decision, NoOp, Start, decide_start
from tasks.preflight.inspect import describe_check_results, render_check_results
from tasks.preflight.management import find_other_manager
from tasks.preflight.registry import CheckRegistry
from tasks.preflight.result import CheckResult, Finding, Severity, SkipPolicy, StartTarget
from tests.support.factories import make_server

CASES = sorted((Path(__file__).parents[2] / "cases" / "checks").glob("*.json"))

# A host on which a first start is possible.
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


def facts_of(inputs: dict[str, Any]) -> HostFacts:
    """Convert JSON values to the types of the facts."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in inputs.items()
    }
    if "process" in inputs:
        fields["process"] = ProcessIdentity(**inputs["process"])
    if "disks" in inputs:
        fields["disks"] = tuple(Disk(**disk) for disk in inputs["disks"])
    if "foreign" in inputs:
        fields["foreign"] = tuple((whose, path) for whose, path in inputs["foreign"])
    if "listeners" in inputs:
        fields["listeners"] = {
            int(port): tuple(Listener(**each) for each in listeners)
            for port, listeners in inputs["listeners"].items()
        }
    if "connections" in inputs:
        fields["connections"] = tuple(TcpConnection(**each) for each in inputs["connections"])
    if "doubts" in inputs:
        fields["doubts"] = tuple(
            Doubt(**{**doubt, "kind": DoubtKind(doubt["kind"])}) for doubt in inputs["doubts"]
        )
    if "fence" in inputs:
        fields["fence"] = fence_of(**inputs["fence"])
    if "files" in inputs:
        fields["files"] = files_of(inputs["files"])
    return replace(GOOD, **fields)


def fence_of(*, record: dict[str, Any] | None = None, is_damaged: bool = False) -> HomeFence:
    if record is None:
        return HomeFence(is_damaged=is_damaged)
    return HomeFence(FenceRecord(FencingToken(**record["token"]), record["at"]))


def files_of(inputs: dict[str, Any]) -> HomeFiles:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in inputs.items()
    }
    if "places" in inputs:
        fields["places"] = {
            Place(name): Directory(place["identity"], place["path"], tuple(place["files"]))
            for name, place in inputs["places"].items()
        }
    if "parameters" in inputs:
        fields["parameters"] = StoredParameters(**inputs["parameters"])
    return HomeFiles(**fields)


def decision_of(case: dict[str, Any]) -> Decision:
    inputs = case["given"]
    token = FencingToken(**inputs["token"]) if "token" in inputs else None
    server = make_server(**inputs.get("server", {}))
    target = StartTarget(server, inputs.get("other_programs", {}), token)
    return decide_start(facts_of(inputs.get("facts", {})), target, inputs.get("skip", ()))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_decide_start_case_file_gives_expected_decision(file: Path) -> None:
    case = json.loads(file.read_text())
    expected, decision = case["then"], decision_of(case)
    reported = [v for v in decision.check_results if v.level is not Severity.OK]
    assert [f"{v.check} {v.level}" for v in reported] == expected["told"]
    match decision:
        case Blocked(code, message, remedy):
            assert expected["decision"] == "blocked"
            assert code == expected.get("code", code)
            assert [part for part in expected.get("says", ()) if part not in message] == []
            assert [part for part in expected.get("remedy", ()) if part not in remedy] == []
        case NoOp(reason, process):
            assert expected["decision"] == "no-op"
            assert f"pid {process.pid}" in reason
        case Start(kind):
            assert (expected["decision"], expected["kind"]) == ("start", kind)
    for part in expected.get("says_warn", ()):
        assert any(part in v.cause for v in reported if v.level is Severity.WARN)
    assert all(v.cause and v.remedy for v in reported)


def test_checks_each_has_case_file_with_failure() -> None:
    reported = {
        line.split()[0] for file in CASES for line in json.loads(file.read_text())["then"]["told"]
    }
    assert reported == {check.name for check in CHECKS}


def test_checks_healthy_host_passes_all() -> None:
    check_results = run_checks(GOOD, StartTarget(make_server()))
    assert [v.check for v in check_results] == [check.name for check in CHECKS]
    assert {v.level for v in check_results} == {Severity.OK}


@pytest.mark.parametrize("check", list(CHECKS), ids=lambda check: check.name)
def test_find_skip_problem_rejects_harmful_skips_only(check: Any) -> None:
    problem = find_skip_problem(["memory", check.name])
    assert (problem is None) == (check.skip is not SkipPolicy.NO)
    assert problem is None or f"'{check.name}' cannot be skipped" in problem


def test_find_skip_problem_unknown_name_lists_known_checks() -> None:
    problem = find_skip_problem(["no-such"])
    assert problem is not None
    assert "'no-such'" in problem
    assert all(check.name in problem for check in CHECKS)


def test_checks_that_cannot_be_skipped_are_listed() -> None:
    unskippable = {check.name for check in CHECKS if check.skip is SkipPolicy.NO}
    assert unskippable == {
        *("temporary-files", "file-systems", "tools", "home", "process", "manager"),
        *("program", "fence", "first-start", "stored-port"),
    }


def registry_with_uptime_check() -> CheckRegistry:
    """Return a copy of the registry with one more check."""
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


def test_added_check_blocks_start_until_skipped() -> None:
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


def test_check_registry_duplicate_name_is_refused() -> None:
    with pytest.raises(ValueError, match="two checks have the name 'temporary-files'"):
        CheckRegistry(CHECKS, CHECKS)


def test_manager_check_reports_obshell_and_unit() -> None:
    process = ProcessIdentity("boot", 1, 2, 1000, "77")
    running = replace(GOOD, process=process)
    assert find_other_manager(running) is None
    assert find_other_manager(replace(running, obshell=5)) is not None
    in_unit = replace(running, groups=("0::/system.slice/db.service",))
    assert find_other_manager(in_unit) is not None


@pytest.mark.parametrize(
    ("sent_s", "now", "received_s", "offset_s"),
    [
        (1000.0, 1000, 1000.0, 0.0),
        (1000.0, 1050, 1100.0, 0.0),
        (1000.0, 500, 1100.0, -0.5),
        (1000.0, 1600, 1100.0, 0.5),
    ],
)
def test_clock_difference_s_allows_for_response_time(
    sent_s: float, now: int, received_s: float, offset_s: float
) -> None:
    assert clock_difference_s(sent_s, now, received_s) == offset_s


def test_render_check_results_names_server_check_and_remedy() -> None:
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
    reported = describe_check_results(check_results)["checks"]
    assert [entry["check"] for entry in reported] == ["b", "c", "d", "e"]
    assert describe_check_results(check_results[:1]) == {}


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_match_committed_files(name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / name
    present = page.read_text(encoding="utf-8")
    assert present == PAGES[name](present)
