"""Process groups on a host: how a command announces its group, and how a group is terminated.

A timed-out SSH channel leaves its command running. Therefore every command starts through a script
that prints its process group before it executes the command, and is terminated through `end_group`,
which runs on the host and reports whether any process is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from dagengine.remote.command import Command, script

END_BOUND_S = 5.0
"""Time limit for terminating a group, in seconds; the script itself needs at most 2."""

_MARK = b"\x1edagengine-group:"
_NOISE_LIMIT_BYTES = 1024

# Prints the mark and the process group, then executes the command. A shell that does not lead
# its group shares the group with sudo or the SSH server; setsid then gives the command its own
# group and, because the shell is not a leader, keeps the pid. Without setsid, 0 reports that the
# group must not be terminated. Nothing is executed if the announcement cannot be printed: the
# channel was closed while the login shell started. SUDO_COMMAND is unset because a started server
# would keep it, the complete command text, in its environment.
_ANNOUNCE = r"""
read -r stat </proc/self/stat
set -- "${stat##*) }" "$@"
group=${1#* * }
shift
unset SUDO_COMMAND
if [ "${group%% *}" = $$ ]; then
    group=$$
elif command -v setsid >/dev/null; then
    group=$$
    set -- setsid "$@"
else
    group=0
fi
printf '\036dagengine-group:%s\n' "$group" || exit 75
exec "$@"
"""

# Zombies count as ended: they hold no files and do nothing, and init may reap them late. The
# process that announced the group also counts, because it may not have created the group yet.
_END_GROUP = r"""
group=$1
[ -r /proc/self/stat ] || exit 2
alive() {
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        set -- ${line##*) }
        [ "$3" = "$group" ] || [ "$stat" = "/proc/$group/stat" ] || continue
        [ "$1" != Z ] && [ "$1" != X ] && return 0
    done
    return 1
}
for signal in TERM KILL; do
    alive || exit 0
    kill -s $signal -- "-$group" 2>/dev/null
    for tick in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        # Looking through /proc is the proof, but it costs: mostly it is asked only once the
        # group takes no signal any more. A group of zombies still does.
        case $tick in
        *[048]) alive || exit 0 ;;
        *) kill -s 0 -- "-$group" 2>/dev/null || alive || exit 0 ;;
        esac
        sleep 0.05
    done
done
exit 1
"""


def announced(command: Command) -> Command:
    """Return the same command, which prints its process group on stdout before it starts."""
    return script(_ANNOUNCE, "dagengine", *command.argv, stdin=command.stdin)


def end_group(group: int) -> Command:
    """Build a command that terminates a process group: TERM, one second later KILL.

    Its exit status is 0 if no process of the group is left.

    Args:
        group: a process group id, above 1.
    """
    if group <= 1:
        raise ValueError(f"not a process group that may be ended: {group}")
    return script(_END_GROUP, "dagengine-end", str(group))


@dataclass(slots=True)
class GroupIdParser:
    """Extracts the announced process group from the first bytes of stdout.

    Attributes:
        group: the process group; None until it is known, 0 if the command does not have its own.
        noise: the last bytes that a login shell's start-up files printed before it.
    """

    group: int | None = None
    noise: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Process received data; return the part that the command itself wrote."""
        if self.group is not None:
            return data
        before, mark, rest = (self.noise + data).partition(_MARK)
        number, end, output = rest.partition(b"\n")
        if mark and end:
            self.group, self.noise = int(number), before
            return output
        self.noise = (before + mark + number)[-_NOISE_LIMIT_BYTES:]
        return b""
