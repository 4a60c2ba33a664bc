"""A start on many hosts, beside OpenSSH doing the same. Prints figures, asserts nothing.

Ours is a whole first start by a fresh controller: POST to the DAG's end, with every check, the
start, a look at the process, two SQL logins through the SSH connection, and every step durable.
OpenSSH runs the same scripts of stages 2 to 4 (facts, start, a look at the process; no SQL) in one
connection a host, which is the least that it could need, many at once under `xargs -P`: with its
default algorithms, and with those that cost least. Rounds take turns. All hosts are on this
machine, so the work of sshd and of the scripts is in every figure; compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from _shared.arena import wait_for_end
from _shared.fleet import PASSWORD, Fleet, open_fleet, start_controller
from _shared.processes import read_usage
from _shared.tables import print_load, print_table

from dagengine.client import Client
from tasks.cluster.cluster_file import load_cluster
from tasks.flavours.select import FLAVOURS
from tasks.hosts.commands import facts_command, probe_command, start_command
from tasks.hosts.home_state import StartKind

GOAL_RATIO, GOAL_CPU_MS, GOAL_KB = 1.1, 15, 300
_AT_ONCE = 32
_TUNED = ("-c", "aes128-gcm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Counters:
    """Results of one round of one side.

    Attributes:
        wall_s: until the end on the last host.
        cpu_s: of the client side: the controller, or xargs with all its ssh processes.
        stages_s: ours only: from the first start of stage 2 to the last end of stage 4.
        held_kb: ours only: memory added by the start, with all connections open.
    """

    wall_s: float
    cpu_s: float
    stages_s: float = 0.0
    held_kb: float = 0.0


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 16, 64, 200])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for count in options.hosts:
        asyncio.run(_measure(count, options.rounds))


async def _measure(count: int, rounds: int) -> None:
    sides: dict[str, list[Counters]] = {"ours": [], "ssh": [], "tuned ssh": []}
    async with open_fleet(count) as fleet:
        print_load(f"before {count} hosts")
        for _ in range(rounds):
            sides["ours"].append(await _start_all(fleet))
            fleet.reset()
            for name, options in (("ssh", ()), ("tuned ssh", _TUNED)):
                sides[name].append(await asyncio.to_thread(_run_openssh, fleet, options))
                fleet.reset()
    _show(count, sides)


async def _start_all(fleet: Fleet) -> Counters:
    with (fleet.directory / "controller.log").open("ab") as log:
        controller, url = await start_controller(fleet, log)
    try:
        async with Client(url, PASSWORD) as client:
            await client.list_dags()  # fetch the key in advance, as for a client in use
            before = read_usage(controller.pid)
            begun_s = time.perf_counter()
            dag_id = (await client.start("GLOBAL"))["id"]
            await _follow(client, dag_id)
            wall_s = time.perf_counter() - begun_s
            after = read_usage(controller.pid)
            dag = await wait_for_end(client, dag_id)
    finally:
        controller.send_signal(signal.SIGTERM)
        await controller.wait()
    begins, ends = dag["nodes"][1]["start_time"], dag["nodes"][3]["end_time"]
    return Counters(
        wall_s,
        after.cpu_s - before.cpu_s,
        (datetime.fromisoformat(ends) - datetime.fromisoformat(begins)).total_seconds(),
        after.resident_kib - before.resident_kib,
    )


async def _follow(client: Client, dag_id: str) -> None:
    """Wait for the end without requesting details, which cost the controller time."""
    while True:
        dag: dict[str, Any] = await client.get(f"/task/dag/{dag_id}?show_details=false")
        if dag["state"] in ("SUCCEED", "FAILED"):
            return
        await asyncio.sleep(_POLL_S)


def _run_openssh(fleet: Fleet, options: Sequence[str]) -> Counters:
    servers = load_cluster(
        fleet.directory / "cluster.yaml", FLAVOURS
    ).servers  # our earlier run wrote it
    for host, server in zip(fleet.hosts, servers, strict=True):
        facts = facts_command(server)
        start = start_command(server, "openssh", StartKind.FIRST)
        lines = (facts.render(), start.render(), probe_command(1, 0, server.sql_port).render())
        (host.home / "script").write_text("\n".join(lines))
    ssh = [
        *("ssh", "-F", "none", "-n", "-T", "-i", str(fleet.key), "-o", "IdentitiesOnly=yes"),
        *("-o", f"UserKnownHostsFile={fleet.known_hosts}", "-o", "BatchMode=yes"),
        *("-p", str(fleet.hosts[0].port), "-l", fleet.user, *options),
    ]
    # xargs passes to each shell an address and the file with the script to run there.
    one = f'{" ".join(ssh)} "$1" "$(cat "$2")" >/dev/null'
    words = "".join(f"{host.ip}\n{host.home}/script\n" for host in fleet.hosts)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun_s = time.perf_counter()
    command = ["xargs", "-P", str(_AT_ONCE), "-n", "2", "sh", "-c", f"exec {one}", "sh"]
    done = subprocess.run(command, input=words, text=True, check=False)
    wall_s = time.perf_counter() - begun_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit("OpenSSH could not run the scripts on every host")
    missing = [host.ip for host in fleet.hosts if not (host.home / "store").exists()]
    if missing:
        raise SystemExit(f"OpenSSH did not start {missing}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Counters(wall_s, cpu_s)


def _show(count: int, sides: dict[str, list[Counters]]) -> None:
    rows: list[tuple[str, ...]] = [
        ("", "wall s: median", "min", "client CPU ms a host: median", "min")
    ]
    for name, figures in sides.items():
        walls = [f.wall_s for f in figures]
        cpus = [f.cpu_s * 1000 / count for f in figures]
        cells = (statistics.median(walls), min(walls), statistics.median(cpus), min(cpus))
        rows.append((name, *(f"{cell:.2f}" for cell in cells)))
    stages = [f.stages_s for f in sides["ours"]]
    rows.append(
        ("ours, stages 2 to 4", f"{statistics.median(stages):.2f}", f"{min(stages):.2f}", "", "")
    )
    print_table(f"{count} host{'s' * (count > 1)}, {len(stages)} rounds", rows)
    ratios = [
        [o.wall_s / t.wall_s, o.stages_s / t.wall_s]
        for o, t in zip(sides["ours"], sides["tuned ssh"], strict=True)
    ]
    whole, stages_only = (statistics.median(column) for column in zip(*ratios, strict=True))
    held = statistics.median(f.held_kb / count for f in sides["ours"])
    print(
        f"  of tuned ssh's wall time: {whole:.2f} (stages 2 to 4: {stages_only:.2f}; goal"
        f" {GOAL_RATIO}); controller memory a host: {held:.0f} kB (goal {GOAL_KB});"
        f" CPU goal {GOAL_CPU_MS} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
