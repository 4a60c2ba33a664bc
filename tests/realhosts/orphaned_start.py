"""A program that creates a host cluster with a start in progress, reports it, and then hangs.

For the test of leftovers after the program is killed. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json

from tests.realhosts.host_cluster import open_host_cluster, until


async def main() -> None:
    async with open_host_cluster() as cluster:
        barrier = cluster.hosts[0].barrier("launch")
        await cluster.start()
        await until(lambda: barrier.is_reached, "the launch")
        inits = [host.init_pid for host in cluster.hosts]
        details = {"directory": str(cluster.directory), "inits": inits}
        print(json.dumps(details), flush=True)  # noqa: T201  # the test reads it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
