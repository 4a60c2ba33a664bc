"""A server as defined in a cluster file, for tests on hosts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from dagengine import Engine, FencingToken
from dagengine.remote import HostAddress
from tasks.cluster.servers import Server
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


@dataclass(frozen=True)
class _IdleEngine:
    """Return an engine that is not started, which is enough for a dry run."""

    token: FencingToken

    def next_fencing_token(self, key: str) -> FencingToken:
        del key
        return replace(self.token, lock_token=1)


def make_idle_engine() -> Engine:
    """Return an engine for the dry run of a request."""
    return cast("Engine", _IdleEngine(FencingToken("0" * 32, 1, 0, "test")))
