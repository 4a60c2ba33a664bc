"""The kinds of server: what differs between them on a host, as values.

Nothing else asks which kind a server is. What differs on the cluster's SQL is in
cluster_steps.py, which is found by the flavour as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flavour:
    """One kind of server.

    Attributes:
        name: as in the cluster file.
        program: below the home.
        log: below the home.
        can_initialise: a server that was never started may be started here.
        forms_cluster: a login does not yet mean service: that needs a majority of the servers.
        sets_root_password: root of a new server has no password, and gets the configured one.
        command_line: from the home to the words that start the server, without options.
        busy_status: the program's exit status when it takes itself for running already; -1: none.
        rpc_option: the start option without which the RPC port is not used; empty: it always is.
    """

    name: str
    program: str
    log: str
    can_initialise: bool
    forms_cluster: bool
    sets_root_password: bool
    command_line: Callable[[str], tuple[str, ...]]
    busy_status: int = -1
    rpc_option: str = ""

    @property
    def process_name(self) -> str:
        """Name of the program's file, and so of its process."""
        return self.program.rpartition("/")[2]


SEEKDB = Flavour(
    name="seekdb",
    program="bin/seekdb",
    log="log/seekdb.log",
    can_initialise=True,
    forms_cluster=False,
    sets_root_password=True,
    command_line=lambda home: (f"{home}/bin/seekdb", "--base-dir", home),
    busy_status=96,
    rpc_option="enable_rpc_service",
)
"""The single-node member of the family: each server is a database of its own."""

OCEANBASE = Flavour(
    name="oceanbase",
    program="bin/observer",
    log="log/observer.log",
    can_initialise=False,  # its first start is a bootstrap, which is not this program's business
    forms_cluster=True,
    sets_root_password=False,
    # A later start takes no option: the server reads its own configuration (protocol 7.3).
    command_line=lambda home: ("env", f"LD_LIBRARY_PATH={home}/lib", f"{home}/bin/observer"),
)
"""Servers in zones that form one database; started from their home, which is their cwd."""

FLAVOURS: Mapping[str, Flavour] = {flavour.name: flavour for flavour in (SEEKDB, OCEANBASE)}
