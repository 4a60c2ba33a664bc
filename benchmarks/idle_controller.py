"""What a controller costs while nobody asks it anything. Prints figures, asserts nothing.

Looked at twice, from outside (/proc): just after it came up, and after it started three real
servers, with its SSH connections open.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys

from _shared.arena import open_arena, wait_for_end
from _shared.processes import Usage, read_usage
from _shared.tables import print_load, print_table

_COUNT = 3
_SETTLE_S = 2.0  # for work that follows the last response
_UNWANTED = ("typer", "click", "rich", "obshell", "pytest")
_LOADED = """
import sys
import dagengine.cli.serve, dagengine.server.controller
from dagengine.server.plugins import load_extension_points
load_extension_points()
print(len(sys.modules), *(name for name in sys.argv[1:] if name in sys.modules))
"""


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each look takes")
    options = parser.parse_args()
    asyncio.run(_measure(options.seconds))
    _show_modules()


async def _measure(seconds: float) -> None:
    print_load("before")
    async with open_arena(_COUNT) as arena:
        fresh = await _look(arena.pid, seconds)
        accepted = await arena.client.start("GLOBAL")
        await wait_for_end(arena.client, accepted["id"])
        used = await _look(arena.pid, seconds)
    print_table(
        f"an idle controller, {seconds:g} s each",
        [
            ("", "CPU % of one core", "CPU ms", "wake-ups per s", "threads", "RSS MiB"),
            _row("never asked anything", *fresh),
            _row(f"after the start of {_COUNT} servers", *used),
        ],
    )
    for what, (begin, end) in (("never asked", fresh), ("after the start", used)):
        waits = _waits(begin, end)
        each = ", ".join(f"{tid}: {count}" for tid, count in waits.items() if count) or "none"
        print(f"  wake-ups by thread, {what}: {each}")
    print_load("after")


async def _look(pid: int, seconds: float) -> tuple[Usage, Usage]:
    await asyncio.sleep(_SETTLE_S)
    begin = read_usage(pid)
    await asyncio.sleep(seconds)
    return begin, read_usage(pid)


def _row(what: str, begin: Usage, end: Usage) -> tuple[str, ...]:
    took_s, cpu_s = end.at_s - begin.at_s, end.cpu_s - begin.cpu_s
    return (
        what,
        f"{100 * cpu_s / took_s:.2f}",
        f"{1000 * cpu_s:.0f}",
        f"{sum(_waits(begin, end).values()) / took_s:.2f}",
        f"{len(end.waits)}",
        f"{end.resident_kib / 1024:.1f}",
    )


def _waits(begin: Usage, end: Usage) -> dict[int, int]:
    """Return the number of wake-ups in the interval, by thread."""
    return {tid: count - begin.waits.get(tid, 0) for tid, count in end.waits.items()}


def _show_modules() -> None:
    """Print the modules that `serve` loads, by running the same imports in a separate process."""
    words = subprocess.run(
        [sys.executable, "-c", _LOADED, *_UNWANTED], capture_output=True, text=True, check=True
    ).stdout.split()
    print_table(
        f"modules that `serve` loads, {words[0]} in all",
        [("module", "loaded"), *((n, "yes" if n in words else "no") for n in _UNWANTED)],
    )


if __name__ == "__main__":
    main()
