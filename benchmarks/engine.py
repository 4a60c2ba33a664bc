"""The engine beside a peer (DBOS) and the raw limit, same work, same call: `make bench-engine`.

Six sequential no-op steps, each one's completion durable (SQLite, synchronous=FULL) before the
next begins, logging at INFO. Every case runs in a process of its own, on a fresh directory, ours
and the peer's by turns. Ratios within one call mean something; absolute figures depend on the
machine. Asserts nothing.
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

from _shared.tables import print_load, print_table

CASES = Path(__file__).with_name("engine_cases")
Counters = Mapping[str, float]


def run(script: str, *arguments: str) -> Counters:
    """Run one case in its own process; return `{}` if it failed or took too long."""
    command = [sys.executable, str(CASES / script), *arguments]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=180
        )
        found: Counters = json.loads(done.stdout.decode().strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return {}
    return found


def case(script: str, name: str) -> Counters:
    """Run a case of our engine or of the peer."""
    with tempfile.TemporaryDirectory() as directory:
        if name == "restart":
            run(script, "leave", directory)
        return run(script, name, directory)


def shown(value: float | None, unit: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def ratio(ours: float | None, peer: float | None, *, less_is_better: bool) -> str:
    if not ours or not peer:
        return "-"
    return f"1/{peer / ours:.1f}" if less_is_better else f"{ours / peer:.1f} x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    has_peer = find_spec("dbos") is not None
    if not has_peer:
        print("DBOS is not installed (pip install 'dagengine[bench]'): its column stays empty")
    print_load("before")
    names = ("single", "burst", "fan", "idle", "restart")
    ours = {name: case("ours.py", name) for name in names}
    peer = {name: case("dbos_peer.py", name) if has_peer else {} for name in names}
    with tempfile.TemporaryDirectory() as directory:
        limit = run("limit.py", directory)
    with tempfile.TemporaryDirectory() as directory:
        post = run("post.py", directory)
    big = case("ours.py", "big")

    rows = [["", "ours", "DBOS", "ours to DBOS", "goal"]]
    for title, name, key, unit, less, goal in (
        ("one 6-step DAG, p50, ms", "single", "p50_s", 1e-3, True, "at most 1/5"),
        ("one 6-step DAG, p99, ms", "single", "p99_s", 1e-3, True, "at most 1/5"),
        ("200 DAGs at once, steps/s", "burst", "per_s", 1.0, False, "at least 30 x"),
        ("500 parallel sub-tasks, sub-tasks/s", "fan", "per_s", 1.0, False, "at least 30 x"),
        ("1,000 DAGs waiting, % of a core", "idle", "cpu_percent", 1.0, True, "under 1 %"),
        ("1,000 DAGs waiting, MB more", "idle", "rss_bytes", 1e6, True, "under 25"),
        ("kill -9 with 1,000, to all finished, s", "restart", "s", 1.0, True, "under 2"),
    ):
        mine, other = ours[name].get(key), peer[name].get(key)
        rows.append(
            [
                title,
                shown(mine, unit, 2),
                shown(other, unit, 2),
                ratio(mine, other, less_is_better=less),
                goal,
            ]
        )
    print_table("the same work", rows)
    burst, raw = ours["burst"].get("per_s"), limit.get("per_s")
    print_table(
        "against the limit, and by itself",
        [
            ["", "figure", "goal"],
            ["group commit of the same rows, steps/s", shown(raw, 1, 0), ""],
            [
                "  200 DAGs at once, share of it",
                f"1/{raw / burst:.1f}" if raw and burst else "-",
                "at least 1/8",
            ],
            ["one DAG, its commits alone, p50, ms", shown(limit.get("one_s"), 1e-3, 2), ""],
            [
                "  one 6-step DAG, p50, to that",
                ratio(ours["single"].get("p50_s"), limit.get("one_s"), less_is_better=False),
                "",
            ],
            [
                "  that, to DBOS's p50",
                ratio(limit.get("one_s"), peer["single"].get("p50_s"), less_is_better=True),
                "",
            ],
            ["the same in one thread, no loop, ms", shown(limit.get("alone_s"), 1e-3, 2), ""],
            [
                "  that, to DBOS's p50",
                ratio(limit.get("alone_s"), peer["single"].get("p50_s"), less_is_better=True),
                "",
            ],
            ["POST while 200 DAGs run, p50, ms", shown(post.get("p50_s"), 1e-3), ""],
            ["POST while 200 DAGs run, p99, ms", shown(post.get("p99_s"), 1e-3), "under 50"],
            ["1,000 sub-tasks x 100 lines, MB more", shown(big.get("rss_bytes"), 1e6), "bounded"],
            *(
                [f"  CPU a sub-task, of {n}, us", shown(big.get(f"cpu_us_per_sub_task_of_{n}")), ""]
                for n in (250, 1000, 4000)
            ),
        ],
    )
    print_load("after")


if __name__ == "__main__":
    main()
