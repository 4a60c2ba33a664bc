"""A program that makes a world with a start under way, says so, and then does nothing.

For the test of what is left when its maker dies. Prints one JSON line.
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
        print(json.dumps(details), flush=True)  # noqa: T201  # it is read by the test
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
