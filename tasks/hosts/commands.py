"""Commands for hosts: constant POSIX scripts that receive data only as arguments.

A host needs only sh, coreutils, grep, sed, find and util-linux (flock, setsid). Every script prints
`name=value` lines, which facts.py parses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dagengine import FencingToken
from dagengine.remote import Command, script
from tasks.cluster.flavour import Flavour
from tasks.cluster.servers import Server
from tasks.hosts.fence import HomeFence, render_token
from tasks.hosts.home_state import Place, StartKind
from tasks.hosts.scripts import read_script

START_DEADLINE_S = 50
"""Time after which the start script has ended, in seconds; its other limits are parts of this one.

A query that waits for the end of a start takes no longer; it has to fit into the engine's
`confirm_timeout_s`.
"""

FACTS_LIMIT_S = 25
"""Time that the facts of a host may take when its mounts do not answer, in seconds.

A client of the API waits 30 s for a dry run, and a query may take 30 s by default.
"""

_EXAMINE_S = FACTS_LIMIT_S - 10  # for directories; the rest is for the search for the server

_STOP_LOCK_S = 25  # for another start or stop of the same home

LIFE_S, SILENCE_S, SEARCH_S = 20, 50, 30
"""Periods of the watch of a host, in seconds; see `watch_command`.

The last line that a dead controller wrote is at most LIFE_S old, so its watch ends within SILENCE_S
also if the host does not learn that the connection was cut.
"""

STOP_MARGIN_S = _STOP_LOCK_S + 10
"""Time that the stop script may need for the lock and after SIGKILL, in seconds."""

MARKER = "DAGENGINE_START"
"""Environment variable of a started server: generic id of the DAG that started it."""

FIRST_START_MARKER = ".dagengine-first-start"
"""File in a home: a first start was tried here and its success is not confirmed."""

UNIT_DIRECTORIES = ("/etc/systemd/system", "/etc/systemd/user")


def facts_command(
    server: Server, *, with_version: bool = False, units: Iterable[str] = UNIT_DIRECTORIES
) -> Command:
    """Build the query for all facts that stage 2 needs about a host, in one round trip.

    Args:
        server: the server to be started there.
        with_version: whether to run the program for its version as well, which takes half a second.
        units: where systemd keeps the links to the units that it starts.
    """
    return script(
        read_script("inspect"),
        "dagengine-facts",
        server.home,
        server.flavour.process_name,
        server.binary,
        server.data_dir or "",
        server.redo_dir or "",
        "\n".join(units),
        "version" if with_version else "",
        str(_EXAMINE_S),
        *(str(port) for port in server.ports.values()),
    )


def process_command(flavour: Flavour, home: str) -> Command:
    """Build the query for the server process that runs in this home, if any."""
    return script(read_script("process"), "dagengine-process", home, flavour.process_name)


def watch_command(
    servers: Sequence[Server],
    *,
    life_s: int = LIFE_S,
    silence_s: int = SILENCE_S,
    search_s: int = SEARCH_S,
) -> Command:
    """Build the command that watches the processes of all servers of one host.

    `tasks.hosts.watch` parses its output. It must be answered with a line after each sign of life.

    Args:
        servers: at least one, of one flavour.
        life_s: time between two signs of life, in seconds.
        silence_s: silence after which the command ends by itself, in seconds.
        search_s: time between two searches for a server that does not run, in seconds.
    """
    return script(
        read_script("watch"),
        "dagengine-watch",
        servers[0].flavour.process_name,
        *(str(seconds) for seconds in (life_s, silence_s, search_s)),
        *(server.home for server in servers),
    )


def start_command(
    server: Server,
    marker: str,
    kind: StartKind,
    token: FencingToken | None = None,
    *,
    limit_s: int = START_DEADLINE_S,
) -> Command:
    """Build the command that starts the server unless it is running.

    Args:
        server: the server.
        marker: id of the DAG.
        kind: content of its home; the script verifies it under the home's lock.
        token: of the DAG; the home rejects an older one. None: the home's fence is ignored.
        limit_s: time after which the script has ended, at least 10 s.
    """
    flavour = server.flavour
    return script(
        read_script("start"),
        "dagengine-start",
        server.home,
        flavour.process_name,
        marker,
        kind,
        server.data_dir or "",
        server.redo_dir or "",
        server.log_file,
        str(flavour.busy_status),
        str(limit_s),
        render_token(token),
        *flavour.command_line(server.home),
        *(() if kind is StartKind.LATER else first_start_options(server)),
    )


def stop_command(
    server: Server, kill_after_s: float, marker: str = "", token: FencingToken | None = None
) -> Command:
    """Build the command that ends the server of a home: SIGTERM, then SIGKILL after `kill_after_s`.

    With a marker, it ends the server only if the DAG with that id started it. The command may take
    STOP_MARGIN_S longer than `kill_after_s`. `token` is as for `start_command`.
    """
    return script(
        read_script("stop"),
        "dagengine-stop",
        server.home,
        server.flavour.process_name,
        str(server.sql_port),
        marker,
        str(int(kill_after_s * 10)),
        str(_STOP_LOCK_S),
        render_token(token),
    )


def sql_listener_command(server: Server, *, only_port: bool = False, pid: int = 0) -> Command:
    """Build the command that identifies a server and its unix socket or the owner of its port.

    With the pid of a server that was identified before, it need not search all processes.
    """
    name, port = server.flavour.process_name, str(server.sql_port)
    words = (server.home, name, port, "port" if only_port else "", str(pid) if pid else "")
    return script(read_script("sql_listener"), "dagengine-sql", *words)


def confirm_first_start_command(home: str, token: FencingToken | None = None) -> Command:
    """Build the command that marks the first start of a home as successful."""
    words = (home, render_token(token))
    return script(read_script("confirm_first_start"), "dagengine-confirm", *words)


def directories_command(home: str, named: Mapping[Place, str]) -> Command:
    """Build the command that examines directories, named relative to the home or absolute."""
    words = (word for place, path in named.items() for word in (str(place), path))
    return script(read_script("directories"), "dagengine-directories", home, *words)


def read_file_command(path: str, offset: int, length: int) -> Command:
    """Build the command that reads a part of a file, `length` bytes from `offset` on."""
    return script(read_script("read_file"), "dagengine-read", path, str(offset), str(length))


def wait_for_lock_command(
    home: str, token: FencingToken | None = None, *, limit_s: int = START_DEADLINE_S
) -> Command:
    """Build the probe that waits until no command of this program is in progress in this home.

    It records the token, so that an older command which arrives later does nothing.
    """
    words = (home, str(limit_s), render_token(token))
    return script(read_script("wait_for_lock"), "dagengine-quiet", *words)


def claim_home_command(home: str, token: FencingToken, fence: HomeFence) -> Command:
    """Build the command that records a token in a home of another store.

    It does nothing if the home's fence is no longer the given one.
    """
    words = (home, render_token(token), str(fence))
    return script(read_script("claim_home"), "dagengine-claim", *words)


def probe_command(pid: int, started: int, sql_port: int) -> Command:
    """Build the probe of one process and its SQL port. It runs often, so it reads little."""
    return script(
        read_script("probe"), "dagengine-alive", str(pid), str(started), f"{sql_port:04X}"
    )


def error_lines_command(log: str, log_from: int) -> Command:
    """Build the query for the last ERROR and EDIAG lines that the server wrote since its start."""
    return script(read_script("error_lines"), "dagengine-trouble", log, str(log_from))


def first_start_options(server: Server) -> tuple[str, ...]:
    """Return the options of a first start; the server stores them, later starts need none."""
    words = ["--port", str(server.sql_port)]
    for option, directory in (("--data-dir", server.data_dir), ("--redo-dir", server.redo_dir)):
        if directory is not None:
            words += [option, directory]
    for name, value in server.start_options.items():
        words += ["--parameter", f"{name}={value}"]
    return tuple(words)
