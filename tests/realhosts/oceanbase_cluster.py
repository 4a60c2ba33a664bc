"""The oceanbase flavour on real hosts: a bootstrapped cluster of stand-in observers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

from tests.realhosts.host import Host
from tests.realhosts.host_cluster import HostCluster, log_text, open_host_cluster
from tests.realhosts.installation import OBSERVER, ledger_file, member
from tests.support.standin.cluster_state import Ledger


@asynccontextmanager
async def open_oceanbase_cluster(
    made_clusters: list[HostCluster], *, per_zone: int = 1
) -> AsyncIterator[HostCluster]:
    """Create a cluster and start all servers with one request; every server is in service."""
    async with open_host_cluster(OBSERVER, per_zone=per_zone) as new_cluster:
        made_clusters.append(new_cluster)
        new_cluster.entries["cluster_sql_timeout_s"] = 10
        new_cluster.write()
        with open_ledger(new_cluster) as ledger:
            members = [member(host.ip, host.zone) for host in new_cluster.hosts]
            ledger.bootstrap(members, new_cluster.password)
        dag = await new_cluster.end_of(await new_cluster.start())
        assert dag["state"] == "SUCCEED", log_text(dag)
        yield new_cluster


@contextmanager
def open_ledger(cluster: HostCluster) -> Iterator[Ledger]:
    """Open the shared state of the stand-ins."""
    with closing(Ledger(ledger_file(cluster.directory))) as ledger:
        yield ledger


def serving(cluster: HostCluster) -> list[int]:
    """Return the numbers of the hosts whose server runs and is in service."""
    with open_ledger(cluster) as ledger:
        return [h.number for h in cluster.hosts if ledger.serves(member(h.ip, h.zone))]


def launches(host: Host) -> int:
    """Return the number of starts of a host's stand-in, according to its own log."""
    return (host.home / "log" / "observer.log").read_text().count("observer starts")
