"""A server as defined in a cluster file, for tests on hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dagengine.remote import HostAddress
from tasks.cluster.cluster_file import Server
from tasks.flavours.seekdb import SEEKDB
from tasks.flavours.select import FLAVOURS

_SERVER = Server(
    name="10.0.0.1:2886",
    ip="10.0.0.1",
    agent_port=2886,
    sql_port=2881,
    rpc_port=2882,
    zone="zone1",
    home="/home/x/seekdb",
    address=HostAddress("10.0.0.1", user="x"),
    start_options={},
    sql_via="ssh",
    flavour=SEEKDB,
)


def make_server(*, flavour: str = "seekdb", **changes: Any) -> Server:
    """Return a server with some fields replaced."""
    by_name = {known.name: known for known in FLAVOURS}
    return replace(_SERVER, flavour=by_name[flavour], **changes)
