"""A program that creates a host cluster with a start in progress, reports it, and then hangs.

For the test of leftovers after the program is killed. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json

from tests.realhosts.host_cluster import make_world, until


async def main() -> None:
    async with make_world() as world:
        barrier = world.hosts[0].barrier("launch")
        await world.start()
        await until(lambda: barrier.is_reached, "the launch")
        inits = [host.init_pid for host in world.hosts]
        details = {"directory": str(world.directory), "inits": inits}
        print(json.dumps(details), flush=True)  # noqa: T201  # the test reads it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
