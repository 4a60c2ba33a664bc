"""Properties of a server flavour on a host.

The flavours themselves are in `tasks/flavours`, one file for each. No other module compares
flavours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasks.cluster.parameters import Parameter


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
        parameters: those that `start_options` may set, by name; empty if they are not known.
        redo_subdirectory: where a server without a redo directory keeps its redo log, below its
            data directory; empty: in that directory itself.
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
    parameters: Mapping[str, Parameter] = field(default_factory=dict, compare=False, repr=False)
    redo_subdirectory: str = ""

    @property
    def process_name(self) -> str:
        """Name of the program file, which is also the name of the process."""
        return self.program.rpartition("/")[2]
