"""The oceanbase flavour on real hosts: a bootstrapped cluster of stand-in observers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

from tests.realhosts.host import Host
from tests.realhosts.host_cluster import HostCluster, log_text, make_world
from tests.realhosts.installation import OBSERVER, ledger_file, member
from tests.support.standin.cluster_state import Ledger


@asynccontextmanager
async def make_ocean(
    made_worlds: list[HostCluster], *, per_zone: int = 1
) -> AsyncIterator[HostCluster]:
    """Create a cluster and start all servers with one request; every server is in service."""
    async with make_world(OBSERVER, per_zone=per_zone) as new_world:
        made_worlds.append(new_world)
        new_world.entries["cluster_sql_timeout_s"] = 10
        new_world.write()
        with open_ledger(new_world) as ledger:
            members = [member(host.ip, host.zone) for host in new_world.hosts]
            ledger.bootstrap(members, new_world.password)
        dag = await new_world.end_of(await new_world.start())
        assert dag["state"] == "SUCCEED", log_text(dag)
        yield new_world


@contextmanager
def open_ledger(world: HostCluster) -> Iterator[Ledger]:
    """Open the shared state of the stand-ins."""
    with closing(Ledger(ledger_file(world.directory))) as ledger:
        yield ledger


def serving(world: HostCluster) -> list[int]:
    """Return the numbers of the hosts whose server runs and is in service."""
    with open_ledger(world) as ledger:
        return [h.number for h in world.hosts if ledger.serves(member(h.ip, h.zone))]


def launches(host: Host) -> int:
    """Return the number of starts of a host's stand-in, according to its own log."""
    return (host.home / "log" / "observer.log").read_text().count("observer starts")
