"""A cluster of two servers that are never contacted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    observed_at = None
    is_ob_state_known = False
    file_digest = ""

    notices: tuple[str, ...] = ()

    def find_notices(self) -> tuple[str, ...]:
        return self.notices

    def root_password(self) -> str:
        return PASSWORD
