"""Benchmark of a start on many hosts, compared with OpenSSH. Asserts nothing.

dagengine: a complete first start by a new controller, from POST to the end of the DAG, with every
check, the start, a probe of the process, two SQL logins through the SSH connection, and every step
durable. OpenSSH: the scripts of stages 2 to 4 (facts, start, probe; no SQL) in one connection per
host, concurrently under `xargs -P`; once with its default algorithms ("ssh") and once with the
cheapest ("tuned ssh"). Rounds alternate. All hosts are on this machine, so every result includes
the work of sshd and of the scripts; compare within one run only.
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

from _support.demo_controller import wait_for_end
from _support.loopback_hosts import PASSWORD, LoopbackHosts, open_loopback_hosts, start_controller
from _support.processes import read_usage
from _support.report import print_load, print_table

from dagengine.client import Client
from tasks.cluster.cluster_file import load_cluster
from tasks.flavours.select import FLAVOURS
from tasks.hosts.commands import facts_command, probe_command, start_command
from tasks.hosts.home_state import StartKind

GOAL_RATIO, GOAL_CPU_MS, GOAL_KIB = 1.1, 15, 300
_CONCURRENT_SSH = 32
_CHEAP_ALGORITHMS = ("-c", "aes128-gcm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class RoundResult:
    """Cost of one start of all servers.

    Attributes:
        wall_s: time until the last host has finished.
        cpu_s: CPU time of the client side: the controller, or xargs with all its ssh processes.
        stages_s: dagengine only: time from the start of stage 2 to the end of stage 4.
        added_kib: dagengine only: memory added by the start, with all connections open.
    """

    wall_s: float
    cpu_s: float
    stages_s: float = 0.0
    added_kib: float = 0.0


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--hosts", type=int, nargs="+", default=[1, 16, 64, 200], help="numbers of hosts to measure"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds per number of hosts")
    options = parser.parse_args()
    for count in options.hosts:
        asyncio.run(_measure(count, options.rounds))


async def _measure(count: int, rounds: int) -> None:
    results: dict[str, list[RoundResult]] = {"dagengine": [], "ssh": [], "tuned ssh": []}
    async with open_loopback_hosts(count) as loopback:
        print_load(f"before {_render_hosts(count)}")
        for _ in range(rounds):
            results["dagengine"].append(await _run_dagengine(loopback))
            loopback.reset()
            for name, options in (("ssh", ()), ("tuned ssh", _CHEAP_ALGORITHMS)):
                results[name].append(await asyncio.to_thread(_run_openssh, loopback, options))
                loopback.reset()
    _print_results(count, results)


async def _run_dagengine(loopback: LoopbackHosts) -> RoundResult:
    with (loopback.directory / "controller.log").open("ab") as log:
        controller, url = await start_controller(loopback, log)
    try:
        async with Client(url, PASSWORD) as client:
            await client.list_dags()  # fetch the server key before the measurement
            before = read_usage(controller.pid)
            started_s = time.perf_counter()
            dag_id = (await client.start("GLOBAL"))["id"]
            await _poll_until_end(client, dag_id)
            wall_s = time.perf_counter() - started_s
            after = read_usage(controller.pid)
            dag = await wait_for_end(client, dag_id)
    finally:
        controller.send_signal(signal.SIGTERM)
        await controller.wait()
    stage_2_start = datetime.fromisoformat(dag["nodes"][1]["start_time"])
    stage_4_end = datetime.fromisoformat(dag["nodes"][3]["end_time"])
    return RoundResult(
        wall_s,
        after.cpu_s - before.cpu_s,
        (stage_4_end - stage_2_start).total_seconds(),
        after.resident_kib - before.resident_kib,
    )


async def _poll_until_end(client: Client, dag_id: str) -> None:
    """Wait for the end; request no details, because these cost the controller CPU time."""
    while True:
        dag: dict[str, Any] = await client.get(f"/task/dag/{dag_id}?show_details=false")
        if dag["state"] in ("SUCCEED", "FAILED"):
            return
        await asyncio.sleep(_POLL_S)


def _run_openssh(loopback: LoopbackHosts, options: Sequence[str]) -> RoundResult:
    cluster_file = loopback.directory / "cluster.yaml"  # written by start_controller
    cluster = load_cluster(cluster_file, FLAVOURS)
    for host, server in zip(loopback.hosts, cluster.servers, strict=True):
        commands = (
            facts_command(server),
            start_command(server, "openssh", StartKind.FIRST),
            probe_command(1, 0, server.sql_port),
        )
        (host.home / "script").write_text("\n".join(command.render() for command in commands))
    ssh = [
        *("ssh", "-F", "none", "-n", "-T", "-i", str(loopback.key), "-o", "IdentitiesOnly=yes"),
        *("-o", f"UserKnownHostsFile={loopback.known_hosts}", "-o", "BatchMode=yes"),
        *("-p", str(loopback.hosts[0].port), "-l", loopback.user, *options),
    ]
    # xargs passes two arguments to each shell: an address and the file of the script to run there.
    ssh_command = f'{" ".join(ssh)} "$1" "$(cat "$2")" >/dev/null'
    arguments = "".join(f"{host.ip}\n{host.home}/script\n" for host in loopback.hosts)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started_s = time.perf_counter()
    command = [
        *("xargs", "-P", str(_CONCURRENT_SSH), "-n", "2"),
        *("sh", "-c", f"exec {ssh_command}", "sh"),
    ]
    completed = subprocess.run(command, input=arguments, text=True, check=False)
    wall_s = time.perf_counter() - started_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if completed.returncode != 0:
        raise SystemExit("OpenSSH did not run the scripts on every host")
    missing = [host.ip for host in loopback.hosts if not (host.home / "store").exists()]
    if missing:
        raise SystemExit(f"OpenSSH did not start the servers of {', '.join(missing)}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return RoundResult(wall_s, cpu_s)


def _print_results(count: int, results: dict[str, list[RoundResult]]) -> None:
    rows: list[tuple[str, ...]] = [
        ("", "wall time, s: median", "min", "client CPU per host, ms: median", "min")
    ]
    for name, rounds in results.items():
        wall_s = [result.wall_s for result in rounds]
        cpu_ms = [result.cpu_s * 1000 / count for result in rounds]
        cells = (statistics.median(wall_s), min(wall_s), statistics.median(cpu_ms), min(cpu_ms))
        rows.append((name, *(f"{cell:.2f}" for cell in cells)))
    own = results["dagengine"]
    stages_s = [result.stages_s for result in own]
    median_s = statistics.median(stages_s)
    rows.append(("dagengine, stages 2 to 4", f"{median_s:.2f}", f"{min(stages_s):.2f}", "", ""))
    print_table(f"{_render_hosts(count)}, {len(own)} rounds", rows)
    pairs = list(zip(own, results["tuned ssh"], strict=True))
    ratio = statistics.median(result.wall_s / ssh.wall_s for result, ssh in pairs)
    stages_ratio = statistics.median(result.stages_s / ssh.wall_s for result, ssh in pairs)
    added_kib = statistics.median(result.added_kib / count for result in own)
    print(
        f"  dagengine / tuned ssh: {ratio:.2f}; stages 2 to 4: {stages_ratio:.2f} (goal"
        f" {GOAL_RATIO}); added memory per host: {added_kib:.0f} KiB (goal {GOAL_KIB});"
        f" CPU goal per host: {GOAL_CPU_MS} ms",
        flush=True,
    )


def _render_hosts(count: int) -> str:
    return f"{count} host{'s' * (count > 1)}"


if __name__ == "__main__":
    main()
