"""Benchmark of the engine, compared with DBOS and with bare commits (`make bench-engine`).

A DAG has six sequential no-op steps; each step is durable (SQLite, synchronous=FULL) before the
next one begins; logging is at INFO. Each case runs in its own process with an empty directory.
Compare ratios within one run; absolute values depend on the machine. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from _support.report import print_load, print_table

CASES = Path(__file__).with_name("engine_cases")
CASE_LIMIT_S = 180
Result = Mapping[str, float]


def run_script(script: str, *arguments: str) -> Result:
    """Run a script in its own process; return `{}` if it failed or exceeded the time limit."""
    command = [sys.executable, str(CASES / script), *arguments]
    try:
        completed = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=CASE_LIMIT_S,
        )
        result: Result = json.loads(completed.stdout.decode().strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return {}
    return result


def run_case(script: str, case: str) -> Result:
    """Run one case of dagengine or DBOS in an empty directory."""
    with tempfile.TemporaryDirectory() as directory:
        if case == "restart":
            run_script(script, "crash", directory)
        return run_script(script, case, directory)


def render(value: float | None, unit: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def render_ratio(value: float | None, reference: float | None, *, less_is_better: bool) -> str:
    if not value or not reference:
        return "-"
    return f"1/{reference / value:.1f}" if less_is_better else f"{value / reference:.1f} x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    has_dbos = find_spec("dbos") is not None
    if not has_dbos:
        print("DBOS column: empty, DBOS is not installed; run: pip install 'dagengine[bench]'")
    print_load("before")
    cases = ("single", "burst", "fan_out", "idle", "restart")
    own = {case: run_case("dagengine_cases.py", case) for case in cases}
    dbos = {case: run_case("dbos_cases.py", case) if has_dbos else {} for case in cases}
    with tempfile.TemporaryDirectory() as directory:
        commits = run_script("commit_limit.py", directory)
    with tempfile.TemporaryDirectory() as directory:
        post = run_script("post_latency.py", directory)
    sub_task_cost = run_case("dagengine_cases.py", "sub_task_cost")
    _print_comparison(own, dbos)
    _print_own_results(own, dbos, commits, post, sub_task_cost)
    print_load("after")


def _print_comparison(own: Mapping[str, Result], dbos: Mapping[str, Result]) -> None:
    rows = [["", "dagengine", "DBOS", "ratio", "goal"]]
    for title, case, key, unit, less_is_better, goal in (
        ("one 6-step DAG, p50, ms", "single", "p50_s", 1e-3, True, "at most 1/5"),
        ("one 6-step DAG, p99, ms", "single", "p99_s", 1e-3, True, "at most 1/5"),
        ("200 DAGs at once, steps/s", "burst", "per_s", 1.0, False, "at least 30 x"),
        ("500 parallel sub-tasks, sub-tasks/s", "fan_out", "per_s", 1.0, False, "at least 30 x"),
        ("1,000 DAGs waiting, % of a core", "idle", "cpu_percent", 1.0, True, "under 1 %"),
        ("1,000 DAGs waiting, added memory, MB", "idle", "rss_bytes", 1e6, True, "under 25"),
        (
            "1,000 DAGs after kill -9, all ended, s",
            "restart",
            "elapsed_s",
            1.0,
            True,
            "under 2",
        ),
    ):
        own_value, dbos_value = own[case].get(key), dbos[case].get(key)
        rows.append(
            [
                title,
                render(own_value, unit, 2),
                render(dbos_value, unit, 2),
                render_ratio(own_value, dbos_value, less_is_better=less_is_better),
                goal,
            ]
        )
    print_table("the same work in both engines", rows)


def _print_own_results(
    own: Mapping[str, Result],
    dbos: Mapping[str, Result],
    commits: Result,
    post: Result,
    sub_task_cost: Result,
) -> None:
    burst, group_commit = own["burst"].get("per_s"), commits.get("per_s")
    dag_s, dbos_dag_s = own["single"].get("p50_s"), dbos["single"].get("p50_s")
    store_s, thread_s = commits.get("store_s"), commits.get("thread_s")
    print_table(
        "dagengine compared with its bare commits, and without a reference",
        [
            ["", "result", "goal"],
            ["group commit of the same rows, steps/s", render(group_commit, 1, 0), ""],
            [
                "  200 DAGs at once, relative to it",
                f"1/{group_commit / burst:.1f}" if group_commit and burst else "-",
                "at least 1/8",
            ],
            ["commits of one DAG through the store, p50, ms", render(store_s, 1e-3, 2), ""],
            [
                "  one 6-step DAG, p50, relative to them",
                render_ratio(dag_s, store_s, less_is_better=False),
                "",
            ],
            ["  relative to DBOS", render_ratio(store_s, dbos_dag_s, less_is_better=True), ""],
            ["the same commits in one thread, p50, ms", render(thread_s, 1e-3, 2), ""],
            ["  relative to DBOS", render_ratio(thread_s, dbos_dag_s, less_is_better=True), ""],
            ["POST while 200 DAGs run, p50, ms", render(post.get("p50_s"), 1e-3), ""],
            ["POST while 200 DAGs run, p99, ms", render(post.get("p99_s"), 1e-3), "under 50"],
            [
                "1,000 sub-tasks with 100 lines each, added memory, MB",
                render(sub_task_cost.get("rss_bytes"), 1e6),
                "bounded",
            ],
            *(
                [
                    f"  CPU per sub-task in a node of {count}, us",
                    render(sub_task_cost.get(f"cpu_us_per_sub_task_of_{count}")),
                    "",
                ]
                for count in (250, 1000, 4000)
            ),
        ],
    )


if __name__ == "__main__":
    main()
