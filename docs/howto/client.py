"""Starts a cluster, follows the task, asks what happened. `python docs/howto/client.py URL`.

The password of root@sys is in DAGENGINE_PASSWORD.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing

from dagengine.client import ApiRefused, Client, ControllerUnreachable


async def start(client: Client) -> str:
    """Start everything and follow it to its end, over restarts of the controller."""
    dag = await client.start("GLOBAL")
    print(f"{dag['name']} is {dag['state']}")
    async with aclosing(client.follow(dag["id"])) as events:
        async for event in events:
            if event.kind == "line":
                print(f"  {event.data['name']}: {event.data['log_content']}")
            elif event.kind == "dag":
                print(f"{event.data['name']} is {event.data['state']}")
    return str(dag["id"])


async def look_back(client: Client, dag_id: str) -> None:
    """What is known afterwards."""
    dag = await client.get_dag(dag_id)
    print(f"{len(dag['nodes'])} stages, {dag['state']}")
    async for found in client.search_dags(state="SUCCEED", name="Start OB"):
        print(f"succeeded: {found['name']}")
    for lock in await client.list_locks():
        print(f"lock {lock['key']}: {lock['about']}")
    for row in await client.list_audit(dag_id):
        print(f"audit: {row['action']} by {row['by'].partition(' from ')[0]}")


async def main(url: str, password: str) -> None:
    try:
        async with Client(url, password) as client:
            await look_back(client, await start(client))
    except (ControllerUnreachable, ApiRefused) as exc:
        sys.exit(f"{exc}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], os.environ.get("DAGENGINE_PASSWORD", "")))
