"""A cluster of two servers that are never contacted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dagengine.extension import ObservedState

PASSWORD = "right-password"
FIRST, SECOND = "127.0.0.1:2886", "127.0.0.1:2887"


@dataclass(frozen=True)
class FakeServer:
    name: str
    zone: str
    ip: str = "127.0.0.1"
    sql_port: int = 2881
    rpc_port: int = 2882
    home: str = "/home/admin/seekdb"

    @property
    def agent_port(self) -> int:
        return int(self.name.rpartition(":")[2])


class FakeCluster:
    """Two servers that are never contacted."""

    name = "fake"
    cluster_id = 1
    servers: Sequence[FakeServer] = (FakeServer(FIRST, "z1"), FakeServer(SECOND, "z2"))
    version = ""
    ob_state = 0
    file_digest = ""

    notices: tuple[str, ...] = ()

    def state_at(self, name: str) -> ObservedState:
        return ObservedState(self.ob_state, None, is_known=False)

    def find_notices(self) -> tuple[str, ...]:
        return self.notices

    def root_password(self) -> str:
        return PASSWORD
