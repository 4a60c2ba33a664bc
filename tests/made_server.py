"""A server as a cluster file would give it, for tests of what happens on hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dagengine.remote import HostAddress
from tasks.cluster.cluster_file import Server
from tasks.cluster.flavour import FLAVOURS

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
    flavour=FLAVOURS["seekdb"],
)


def make_server(*, flavour: str = "seekdb", **changes: Any) -> Server:
    """One with some fields replaced."""
    return replace(_SERVER, flavour=FLAVOURS[flavour], **changes)
