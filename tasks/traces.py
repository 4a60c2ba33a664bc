"""What a server that ended has left on its host: one question, and its parsed answer.

The question is bounded: it takes some seconds at most, tells at most some 20 kB, and leaves
nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dagengine import Command, script
from tasks.answer import last_value, number_value, parse_lines

# $1 home, $2 log, $3 byte of the log to begin at, $4 pid, $5 its start time in clock ticks since
# boot (0 when they are not known), then the server's ports. What the kernel said counts from that
# start on.
_TRACES = r"""
home=$1 log=$2 from=$3 pid=$4 since=$(($5 / 100))
shift 5
for port in "$@"; do
    hex=$(printf '%04X' "$port")
    grep -q -s "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6 &&
        echo "taken=$port"
done
if size=$(stat -c %s "$log" 2>/dev/null); then
    [ "$from" -gt "$size" ] && from=0
    [ $((size - from)) -gt 4000000 ] && from=$((size - 4000000))
    tail -c "+$((from + 1))" "$log" | grep -a -E ' (ERROR|EDIAG) ' | tail -n 40 |
        cut -c 1-600 | sed 's/^/log=/'
    [ "$size" -gt "$from" ] && echo "log_grew=yes"
else
    echo "log_missing=yes"
fi

kernel() {
    timeout 3 dmesg 2>/dev/null ||
        timeout 5 journalctl -k -b -q --no-pager -o short-monotonic -n 3000 2>/dev/null
}
if said=$(kernel); then
    echo "kernel_readable=yes"
    printf '%s\n' "$said" | grep -a -E \
        'Killed process|oom-kill|segfault|traps:|general protection|I/O error|EXT4-fs error' |
        tail -n 40 | while read -r line; do
        at=${line#*[}
        at=${at%%.*}
        at=${at##* }
        case $at in '' | *[!0-9]*) at=$since ;; esac
        [ "$at" -ge "$since" ] && printf '%s\n' "$line" | cut -c 1-300 | sed 's/^/kernel=/'
    done
fi

group=$(sed -n 's/^0:://p' /proc/self/cgroup 2>/dev/null)
older=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup 2>/dev/null)
for events in "/sys/fs/cgroup$group/memory.events" \
    "/sys/fs/cgroup${group%/*}/memory.events" "/sys/fs/cgroup/memory$older/memory.oom_control"; do
    sed -n 's/^oom_kill /oom_kills=/p' "$events" 2>/dev/null
done

pattern=$(cat /proc/sys/kernel/core_pattern 2>/dev/null)
boot=$(sed -n 's/^btime //p' /proc/stat 2>/dev/null)
begun=$((${boot:-0} + since))
tell_core() {
    [ -f "$1" ] && [ "$(stat -c %Y "$1")" -ge "$begun" ] && stat -c 'core=%n, %s bytes' "$1"
}
if [ "$pid" -gt 0 ]; then
    for file in "$home"/core*; do tell_core "$file"; done
    case $pattern in
    "|"*) timeout 5 coredumpctl --no-pager --no-legend list "$pid" 2>/dev/null |
        tail -n 1 | sed 's/^/core=coredumpctl: /' ;;
    /*) for file in "${pattern%/*}"/*"$pid"*; do tell_core "$file"; done ;;
    esac
fi

set -- $(df -P -B1 "$home" 2>/dev/null | tail -n 1)
echo "free_bytes=$4"
set -- $(df -P -i "$home" 2>/dev/null | tail -n 1)
echo "free_files=$4"
sed -n 's/^Max open files  *\([^ ]*\) .*/open_files=\1/p' /proc/self/limits
sed -n 's/^MemAvailable: *\([0-9]*\) kB/available_kib=\1/p' /proc/meminfo
echo "end=yes"
"""


@dataclass(frozen=True, slots=True)
class Traces:
    """What was found. Lists hold lines, each cut; None: the host did not say.

    Attributes:
        complete: False when the answer broke off.
        log: the last ERROR and EDIAG lines that the server wrote since it was started.
        log_grew: it wrote anything at all since then.
        log_missing: there is no log.
        kernel: what the kernel said since then of kills, crashes and disks.
        kernel_readable: False when this user may not read it.
        oom_kills: processes that the kernel killed for want of memory in this login's control
            group, since that was made.
        cores: core files of the server.
        free_bytes, free_files: left on the file system of the home.
        taken: those of the server's ports on which something else listens now.
        open_files: how many this user may have open; 0 when there is no limit.
        available_bytes: memory that could be had.
    """

    complete: bool = True
    log: tuple[str, ...] = ()
    log_grew: bool = True
    log_missing: bool = False
    kernel: tuple[str, ...] = ()
    kernel_readable: bool = False
    oom_kills: int | None = None
    cores: tuple[str, ...] = ()
    free_bytes: int | None = None
    free_files: int | None = None
    open_files: int | None = None
    available_bytes: int | None = None
    taken: tuple[int, ...] = ()

    def as_evidence(self) -> dict[str, Any]:
        """For a caller: what was found, without the log and what is not known."""
        hidden = ("complete", "log", "log_grew", "log_missing")
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in hidden and value not in (None, ())
        }


def ask_traces(
    home: str, log: str, log_from: int, pid: int, started: int, ports: Iterable[int] = ()
) -> Command:
    """What the server (pid, start time) has left; `log_from` is the log's size at its start."""
    numbers = (log_from, max(pid, 0), started, *ports)
    return script(_TRACES, "dagengine-traces", home, log, *map(str, numbers))


def parse_traces(output: str) -> Traces:
    """The answer to `ask_traces`."""
    values = parse_lines(output)
    kib = number_value(values, "available_kib")
    open_files = last_value(values, "open_files")
    counts = [int(text) for text in values.get("oom_kills", ()) if text.isdecimal()]
    return Traces(
        complete=last_value(values, "end") == "yes",
        log=tuple(values.get("log", ())),
        log_grew=last_value(values, "log_grew") == "yes",
        log_missing=last_value(values, "log_missing") == "yes",
        kernel=tuple(values.get("kernel", ())),
        kernel_readable=last_value(values, "kernel_readable") == "yes",
        oom_kills=max(counts, default=None),
        cores=tuple(values.get("core", ())),
        free_bytes=number_value(values, "free_bytes"),
        free_files=number_value(values, "free_files"),
        open_files=0 if open_files == "unlimited" else number_value(values, "open_files"),
        available_bytes=None if kib is None else kib * 1024,
        taken=tuple(int(text) for text in values.get("taken", ()) if text.isdecimal()),
    )
