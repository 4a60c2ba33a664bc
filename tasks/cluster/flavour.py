"""Server flavours: the differences between them on a host, as values.

Other modules do not branch on the flavour. Differences in the cluster's SQL are in
cluster_steps.py, which is selected by flavour as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flavour:
    """A kind of server.

    Attributes:
        name: as in the cluster file.
        program: path below the home.
        log: path below the home.
        can_initialise: whether a start may initialise a server that was never started.
        forms_cluster: whether serving requires a majority of the servers, so that a login alone
            does not prove service.
        sets_root_password: whether root of a new server has no password and the start sets the
            configured one.
        command_line: returns, for a home, the words that start the server, without options.
        busy_status: exit status of the program if it finds itself already running; -1: none.
        rpc_option: start option that enables the RPC port; empty: the port is always used.
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
        """Name of the program file, which is also the name of the process."""
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
"""Single-node flavour: each server is a separate database."""

OCEANBASE = Flavour(
    name="oceanbase",
    program="bin/observer",
    log="log/observer.log",
    can_initialise=False,  # its first start is a bootstrap, which this program does not do
    forms_cluster=True,
    sets_root_password=False,
    # A later start takes no options: the server reads its own configuration (protocol 7.3).
    command_line=lambda home: ("env", f"LD_LIBRARY_PATH={home}/lib", f"{home}/bin/observer"),
)
"""Servers in zones that form one database; started with their home as working directory."""

FLAVOURS: Mapping[str, Flavour] = {flavour.name: flavour for flavour in (SEEKDB, OCEANBASE)}
