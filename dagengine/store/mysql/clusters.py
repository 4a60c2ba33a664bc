"""The row of a cluster in a shared store."""

from __future__ import annotations

from dataclasses import dataclass

from dagengine.model.fencing import StoreIdentity
from dagengine.mysql import Connection
from dagengine.store.mysql.statements import render_query


@dataclass(frozen=True, slots=True)
class NewCluster:
    """A cluster without an owner.

    Attributes:
        cluster_id: the id in its cluster file.
        flavour: `oceanbase` or `seekdb`.
        advertise: the address in its generic ids.
        identity: store id and epoch.
    """

    name: str
    cluster_id: int
    flavour: str
    advertise: str
    identity: StoreIdentity


async def create_cluster(connection: Connection, cluster: NewCluster) -> None:
    """Insert the row of a cluster.

    Raises:
        MysqlServerError: error 1062 if the cluster exists.
        MysqlError: the database cannot be written.
    """
    await connection.query(
        render_query(
            "create_cluster",
            cluster.name,
            cluster_id=cluster.cluster_id,
            flavour=cluster.flavour,
            advertise=cluster.advertise,
            store_id=bytes.fromhex(cluster.identity.store_id),
            epoch=cluster.identity.epoch,
        )
    )
