"""What runs on a host: constant POSIX scripts, data only in their arguments.

A host needs sh, coreutils and util-linux (flock, setsid), nothing else. Every script prints
`name=value` lines, which facts.py reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from dagengine import Command, script
from tasks.flavour import Flavour
from tasks.host_script import LIMITS, MANAGERS, PLACES, PORTS, PROGRAM, VERSION
from tasks.topology import Server

START_DEADLINE_S = 40
"""The start script gives up by itself after this many seconds."""

STOP_MARGIN_S = 25 + 10
"""What the stop script may take for the lock, and after SIGKILL."""

MARKER = "DAGENGINE_START"
"""Environment variable of a started server: the generic id of the DAG that started it."""

UNIT_DIRECTORIES = ("/etc/systemd/system", "/etc/systemd/user")

# Is this process (pid, start time) there? A zombie is dead, but not while other threads of it end:
# they still hold its ports and files, though it has no directory and no command line any more.
_LIVES = r"""
lives() {
    wanted=$2
    { read -r stat </proc/$1/stat; } 2>/dev/null || return 1
    set -- ${stat##*) }
    [ "${20}" = "$wanted" ] && { [ "$1" != Z ] || [ "${18}" -gt 1 ]; }
}
"""

# Functions of every script. The identity of a server process: pid and start time (within this
# boot), with this home as its working directory, and what its flavour's `is_server` asks for.
# A zombie has no cwd link, so it is not found: it is dead.
_LOOK = r"""
find_server() {
    pid= started= owner= by=
    for dir in /proc/[0-9]*; do
        [ "$dir/cwd" -ef "$home" ] || continue
        is_server "$dir" || continue
        { read -r stat <"$dir/stat"; } 2>/dev/null || continue
        set -- ${stat##*) }
        [ "$1" = Z ] && continue
        pid=${dir#/proc/} started=${20} owner=$(stat -c %u "$dir" 2>/dev/null)
        by=$(tr '\0' '\n' <"$dir/environ" 2>/dev/null | sed -n 's/^DAGENGINE_START=//p')
        return 0
    done
    return 1
}
tell_server() {
    if find_server; then
        echo "pid=$pid"; echo "started=$started"; echo "owner=$owner"; echo "by=$by"
    fi
}
"""

# $1 home, $2 binary, $3 what a completed first start has left, $4 data directory, $5 redo
# directory, $6 where links to systemd's units are, $7 `version` to ask the program, then the ports.
_FACTS = (
    _LOOK
    + r"""
home=$1 binary=$2 before=$3 data=$4 redo=$5 units=$6 more=$7
shift 7
ports=$*
echo "now_ms=$(date +%s%3N)"
said=$(id)
uid=${said#uid=} uid=${uid%%[!0-9]*}
user=${said#*\(} user=${user%%\)*}
echo "uid=$uid"; echo "user=$user"
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
if [ -d "$home" ]; then
    echo "home=directory"; echo "home_owner=$(stat -L -c %u "$home")"
    [ -w "$home" ] && echo "home_writable=yes"
elif [ -e "$home" ]; then echo "home=other"
fi
[ -e "$binary" ] && echo "binary=present"
[ -x "$binary" ] && echo "binary_executable=yes"
[ -e "$before" ] && echo "initialised=yes"
command -v flock >/dev/null && command -v setsid >/dev/null && echo "tools=yes"
"""
    + PLACES
    + PROGRAM
    + LIMITS
    + MANAGERS
    + PORTS
    + f'\nif [ "$more" = version ]; then\n{VERSION}\nfi\necho "end=yes"\n'
)

# $1 home
_PROCESS = (
    _LOOK
    + r"""
home=$1
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
tell_server
echo "end=yes"
"""
)

# $1 home, $2 marker, $3 what a completed first start has left, $4 may it be a first start, $5 the
# log, $6 status of a program that takes itself for running; then the words that start it. Look,
# start and tell
# happen under the lock on the home directory itself (no file is made for it), so that two
# controllers, or two attempts, cannot both start it.
_START = (
    _LOOK
    + r"""
home=$1 marker=$2 before=$3 may_be_first=$4 log=$5 busy=$6
shift 6
exec 9<"$home" || exit 70
flock -w 25 9 || { echo "outcome=locked"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
if find_server; then echo "outcome=running"; tell_server; exit 0; fi
if ! [ -e "$before" ]; then
    [ "$may_be_first" = yes ] || { echo "outcome=never_started"; exit 0; }
    aside="$home/failed-start-$(date -u +%Y%m%dT%H%M%SZ)"
    for part in etc store; do
        [ -e "$home/$part" ] || continue
        mkdir -p "$aside" && mv "$home/$part" "$aside/" && echo "moved_aside=$aside/$part"
    done
fi
echo "log_from=$(stat -c %s "$log" 2>/dev/null || echo 0)"
# The file loses its name at once, so that nothing stays however this script ends.
said=$(mktemp) && exec 8<>"$said" && rm -f "$said" || exit 71
tries=0
while :; do
    # --foreground: it stays in this script's group, and is ended with it.
    (cd "$home" && DAGENGINE_START=$marker exec timeout --foreground -k 2 20 setsid -w \
        "$@" </dev/null >&8 2>&1 8>&- 9<&-)
    status=$?
    # Already running? While an old process is a zombie the program takes it for alive.
    [ "$status" = "$busy" ] && ! find_server && [ "$tries" -lt 40 ] || break
    tries=$((tries + 1))
    sleep 0.25
done
echo "status=$status"
tail -n 3 /proc/self/fd/8 | sed 's/^/said=/'
tries=0
while ! find_server && [ "$status" = 0 ] && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
echo "outcome=launched"
tell_server
"""
)

# $1 home, $2 marker: only a server that this DAG started; empty: whoever started it, $3 tenths of a
# second that it has to end by itself. Ends the server of this home, under the lock of the home, and
# no other process: the identity is looked at again before each signal.
_STOP = (
    _LIVES
    + _LOOK
    + r"""
home=$1 marker=$2 patience=$3
wait_end() {
    tries=0
    while lives "$first" "$since"; do
        [ "$tries" -lt "$1" ] || return 1
        tries=$((tries + 1))
        sleep 0.1
    done
}
[ -d "$home" ] || { echo "outcome=gone"; exit 0; }
exec 9<"$home" || exit 70
flock -w 25 9 || { echo "outcome=locked"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
find_server || { echo "outcome=gone"; exit 0; }
tell_server
[ -z "$marker" ] || [ "$by" = "$marker" ] || { echo "outcome=foreign"; exit 0; }
[ "$owner" = "$(id -u)" ] || { echo "outcome=other_user"; exit 0; }
first=$pid since=$started
kill -s TERM "$first" || { echo "outcome=refused"; exit 0; }
if wait_end "$patience"; then echo "outcome=stopped"; exit 0; fi
kill -s KILL "$first"
if wait_end 100; then echo "outcome=killed"; else echo "outcome=alive"; fi
"""
)

# $1 home. A start of ours that is still under way holds the lock on the home directory.
_QUIET = r"""
[ -d "$1" ] || { echo "quiet=yes"; exit 0; }
exec 9<"$1" && flock -w 45 9 && echo "quiet=yes"
"""

# $1 pid, $2 start time: together they name one process of this boot; $3 SQL port, in hex. The
# kernel's tables begin with what listens (0A; before Linux 4.4 with half-open connections, 03, in
# between): the rest, which may be tens of thousands of lines, is not read.
_ALIVE = (
    _LIVES
    + r"""
port=$3
for table in /proc/net/tcp /proc/net/tcp6; do
    found=$(sed -n -e 1d -e '/^ *[0-9]*: [0-9A-F:]* [0-9A-F:]* 0[A3] /!q' \
        -e "/^ *[0-9]*: [0-9A-F]*:$port [0-9A-F]*:0000 0A /{p;q;}" "$table" 2>/dev/null)
    if [ -n "$found" ]; then echo "listening=yes"; break; fi
done
lives "$1" "$2" && echo "alive=yes"
echo "end=yes"
"""
)

# $1 log file, $2 byte to begin at
_TROUBLE = r"""
size=$(stat -c %s "$1" 2>/dev/null) || exit 0
from=$2
[ "$from" -gt "$size" ] && from=0
[ $((size - from)) -gt 4000000 ] && from=$((size - 4000000))
tail -c "+$((from + 1))" "$1" | grep -a -E ' (ERROR|EDIAG) ' | tail -n 40 | cut -c 1-600
"""


def ask_facts(
    server: Server, *, with_version: bool = False, units: Iterable[str] = UNIT_DIRECTORIES
) -> Command:
    """Everything stage 2 wants to know of a host, in one round trip.

    Args:
        server: the server that is to be started there.
        with_version: run the program for its version as well, which takes half a second.
        units: where systemd keeps the links to the units that it starts.
    """
    return script(
        server.flavour.is_server + _FACTS,
        "dagengine-facts",
        server.home,
        server.binary,
        server.started_before,
        server.data_dir or "",
        server.redo_dir or "",
        "\n".join(units),
        "version" if with_version else "",
        *(str(port) for port in server.ports.values()),
    )


def ask_process(flavour: Flavour, home: str) -> Command:
    """Which server process runs in this home, if any."""
    return script(flavour.is_server + _PROCESS, "dagengine-process", home)


def start_server(server: Server, marker: str, options: tuple[str, ...]) -> Command:
    """Start the server unless it runs."""
    flavour = server.flavour
    return script(
        flavour.is_server + _START,
        "dagengine-start",
        server.home,
        marker,
        server.started_before,
        "yes" if flavour.can_initialise else "no",
        server.log_file,
        str(flavour.busy_status),
        *flavour.command_line(server.home),
        *options,
    )


def stop_server(flavour: Flavour, home: str, kill_after_s: float, marker: str = "") -> Command:
    """End the server of this home: SIGTERM, and SIGKILL if it still lives after `kill_after_s`.

    With a marker only if the DAG of that id started it. STOP_MARGIN_S is what it may take besides.
    """
    text, tenths = flavour.is_server + _STOP, str(int(kill_after_s * 10))
    return script(text, "dagengine-stop", home, marker, tenths)


def ask_quiet(home: str) -> Command:
    """Wait until no start of ours is under way there."""
    return script(_QUIET, "dagengine-quiet", home)


def ask_alive(pid: int, started: int, sql_port: int) -> Command:
    """Is this very process still alive, and its port open? Asked often, so it reads little."""
    return script(_ALIVE, "dagengine-alive", str(pid), str(started), f"{sql_port:04X}")


def read_trouble(log: str, log_from: int) -> Command:
    """The last ERROR and EDIAG lines that the server wrote since it was started."""
    return script(_TROUBLE, "dagengine-trouble", log, str(log_from))


def first_start_options(server: Server) -> tuple[str, ...]:
    """Options of a first start; the server keeps them, later starts need none."""
    words = ["--port", str(server.sql_port)]
    for option, directory in (("--data-dir", server.data_dir), ("--redo-dir", server.redo_dir)):
        if directory is not None:
            words += [option, directory]
    for name, value in server.start_options.items():
        words += ["--parameter", f"{name}={value}"]
    return tuple(words)
