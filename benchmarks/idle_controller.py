"""Benchmark of an idle controller: CPU time, wake-ups, memory and modules. Asserts nothing.

Measures the controller's process twice through /proc: after its own start, and after it has started
three real servers, with its SSH connections open. `--hosts` adds a controller that watches many
simulated hosts. The peer is a process that wakes up as often and does nothing: some virtual
machines count more than 1 ms per wake-up of an idle processor.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import timeit

from _support.demo_controller import run_demo_controller, wait_for_end
from _support.loopback_hosts import PASSWORD, start_controller
from _support.processes import Usage, read_usage
from _support.report import print_load, print_table
from _support.simulated_hosts import open_simulated_hosts

from dagengine.client import Client

_SERVERS, _HOSTS = 3, 200
GOALS = {_SERVERS: 0.5, _HOSTS: 3.0}  # limits by number of servers, in % of one core
_AVAILABLE = 3  # obState
_AVAILABLE_POLLS, _AVAILABLE_POLL_S = 24, 10.0
_FULL_RATE_S = 60.0  # until the probes and pings of a minute have begun
_SETTLE_S = 2.0  # time for work that follows the last response
_SLEEP = "import sys, time\nwhile True: time.sleep(float(sys.argv[1]))"
_UNWANTED = ("typer", "click", "rich", "obshell", "pytest")
_LIST_MODULES = """
import sys
import dagengine.cli.serve, dagengine.server.controller
from dagengine.server.plugins import load_extension_points
load_extension_points()
print(len(sys.modules), *(name for name in sys.argv[1:] if name in sys.modules))
"""


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of each measurement")
    parser.add_argument("--no-demo", action="store_true", help="only measure many hosts")
    parser.add_argument("--hosts", type=int, default=0, help="number of hosts, such as 200")
    options = parser.parse_args()
    if not options.no_demo:
        asyncio.run(_measure(options.seconds))
    if options.hosts:
        asyncio.run(_measure_hosts(options.hosts, options.seconds))
    _print_modules()


async def _measure(seconds: float) -> None:
    print_load("before")
    async with run_demo_controller(_SERVERS) as controller:
        after_boot = await _measure_usage(controller.pid, seconds)
        accepted = await controller.client.start("GLOBAL")
        await wait_for_end(controller.client, accepted["id"])
        after_start = await _measure_usage(controller.pid, seconds)
    peer = await _measure_peer(after_start)
    print_table(
        f"idle controller, {seconds:g} s per measurement",
        [
            ("", "% of one core", "CPU time, ms", "wake-ups/s", "threads", "RSS, MiB"),
            _cells("before the first request", *after_boot),
            _cells(f"after the start of {_SERVERS} servers", *after_start),
            _cells("peer: only as many wake-ups", *peer),
        ],
    )
    usages_by_label = {"before the first request": after_boot, "after the start": after_start}
    for label, usages in usages_by_label.items():
        counts = _count_wakeups(*usages)
        text = ", ".join(f"{tid}: {count}" for tid, count in counts.items() if count) or "none"
        print(f"  wake-ups by thread id, {label}: {text}")
    print_load("after")


async def _measure_hosts(count: int, seconds: float) -> None:
    """Measure a controller of many simulated hosts with running servers."""
    print_load("before")
    async with open_simulated_hosts(count) as hosts:
        with (hosts.directory / "controller.log").open("ab") as log:
            controller, url = await start_controller(hosts, log)
        try:
            async with Client(url, PASSWORD) as client:
                await _wait_until_available(client, count)
                await asyncio.sleep(_FULL_RATE_S)
                usages = await _measure_usage(controller.pid, seconds)
                available = await _wait_until_available(client, count)
        finally:
            controller.send_signal(signal.SIGTERM)
            await controller.wait()
    peer = await _measure_peer(usages)
    print_table(
        f"idle controller with {count} hosts, {seconds:g} s; goals in % of a core: {GOALS}",
        [
            ("", "% of one core", "CPU time, ms", "wake-ups/s", "threads", "RSS, MiB"),
            _cells(f"{count} servers, {available} of them available", *usages),
            _cells("peer: only as many wake-ups", *peer),
        ],
    )
    additions_s = min(timeit.repeat("sum(range(10**6))", number=1, repeat=20))
    print(
        f"  speed of this machine: a million additions in Python take {1000 * additions_s:.0f} ms"
    )


async def _wait_until_available(client: Client, count: int) -> int:
    """Wait until all servers are available, or for some minutes; return how many are."""
    available = 0
    for _ in range(_AVAILABLE_POLLS):
        statuses = await client.get("/agents/status")
        available = sum(s["obState"] == _AVAILABLE for s in statuses.values() if "sqlPort" in s)
        if available == count:
            break
        await asyncio.sleep(_AVAILABLE_POLL_S)
    return available


async def _measure_usage(pid: int, seconds: float) -> tuple[Usage, Usage]:
    await asyncio.sleep(_SETTLE_S)
    begin = read_usage(pid)
    await asyncio.sleep(seconds)
    return begin, read_usage(pid)


async def _measure_peer(usages: tuple[Usage, Usage]) -> tuple[Usage, Usage]:
    """Measure a process that sleeps and wakes up as often as another one has."""
    begin, end = usages
    elapsed_s = end.at_s - begin.at_s
    pause_s = elapsed_s / max(1, sum(_count_wakeups(begin, end).values()))
    arguments = (sys.executable, "-c", _SLEEP, str(pause_s))
    process = await asyncio.create_subprocess_exec(*arguments)
    try:
        return await _measure_usage(process.pid, elapsed_s)
    finally:
        process.kill()
        await process.wait()


def _cells(label: str, begin: Usage, end: Usage) -> tuple[str, ...]:
    elapsed_s, cpu_s = end.at_s - begin.at_s, end.cpu_s - begin.cpu_s
    return (
        label,
        f"{100 * cpu_s / elapsed_s:.2f}",
        f"{1000 * cpu_s:.0f}",
        f"{sum(_count_wakeups(begin, end).values()) / elapsed_s:.2f}",
        f"{len(end.wakeups)}",
        f"{end.resident_kib / 1024:.1f}",
    )


def _count_wakeups(begin: Usage, end: Usage) -> dict[int, int]:
    """Return the number of wake-ups in the interval, by thread id."""
    return {tid: count - begin.wakeups.get(tid, 0) for tid, count in end.wakeups.items()}


def _print_modules() -> None:
    """Run the imports of `serve` in a separate process; print which unwanted modules they load."""
    count, *loaded = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES, *_UNWANTED],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    print_table(
        f"modules that `serve` loads: {count}",
        [
            ("module", "loaded"),
            *((name, "yes" if name in loaded else "no") for name in _UNWANTED),
        ],
    )


if __name__ == "__main__":
    main()
