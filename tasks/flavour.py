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
        started_before: below the home; there once a first start was completed.
        can_initialise: a server that was never started may be started here.
        forms_cluster: a login does not yet mean service: that needs a majority of the servers.
        sets_root_password: root of a new server has no password, and gets the configured one.
        command_line: from the home to the words that start the server, without options.
        is_server: script with the shell function of that name (tasks/scripts).
        busy_status: the program's exit status when it takes itself for running already; -1: none.
        started_before_in_redo: as started_before, below a redo directory of its own.
        rpc_option: the start option without which the RPC port is not used; empty: it always is.
    """

    name: str
    program: str
    log: str
    started_before: str
    can_initialise: bool
    forms_cluster: bool
    sets_root_password: bool
    command_line: Callable[[str], tuple[str, ...]]
    is_server: str
    busy_status: int = -1
    started_before_in_redo: str = ""
    rpc_option: str = ""


SEEKDB = Flavour(
    name="seekdb",
    program="bin/seekdb",
    log="log/seekdb.log",
    started_before="store/redo/sys/log_stream",
    can_initialise=True,
    forms_cluster=False,
    sets_root_password=True,
    command_line=lambda home: (f"{home}/bin/seekdb", "--base-dir", home),
    is_server="is_seekdb",
    busy_status=96,
    started_before_in_redo="sys/log_stream",
    rpc_option="enable_rpc_service",
)
"""The single-node member of the family: each server is a database of its own."""

OCEANBASE = Flavour(
    name="oceanbase",
    program="bin/observer",
    log="log/observer.log",
    started_before="etc/observer.config.bin",
    can_initialise=False,  # its first start is a bootstrap, which is not this program's business
    forms_cluster=True,
    sets_root_password=False,
    # A later start takes no option: the server reads its own configuration (protocol 7.3).
    command_line=lambda home: ("env", f"LD_LIBRARY_PATH={home}/lib", f"{home}/bin/observer"),
    is_server="is_observer",
)
"""Servers in zones that form one database; started from their home, which is their cwd."""

FLAVOURS: Mapping[str, Flavour] = {flavour.name: flavour for flavour in (SEEKDB, OCEANBASE)}
