"""Process groups on a host: how a command announces its own, and how one is ended.

A timed-out SSH channel leaves its command running, so a command is started through
`ANNOUNCE`, which says its process group before it becomes the command, and is ended through
`end_group`, which asks the host and reports whether anything is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from dagengine.remote.command import Command, script

END_BOUND_S = 5.0
"""Longest that ending a group may take, in seconds; the script itself needs 2 at most."""

_MARK = b"\x1edagengine-group:"
_NOISE_LIMIT_BYTES = 1024

# Prints the mark and the process group, then becomes the command. A shell that does not lead
# its group shares it with sudo, or with the SSH server: then setsid, which keeps the pid of one
# that is no leader, gives the command a group of its own. Where there is no setsid, 0 tells that
# the group must not be ended. SUDO_COMMAND, all of the command's text, would stay in the
# environment of a server for ever.
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
printf '\036dagengine-group:%s\n' "$group"
exec "$@"
"""

# Zombies are dead: they hold no file and do nothing, and init may take its time to reap them.
# The process that has announced the group counts although it may not have made it yet.
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
    """The same command, saying its process group on stdout before it starts."""
    return script(_ANNOUNCE, "dagengine", *command.argv, stdin=command.stdin)


def end_group(group: int) -> Command:
    """Ends a process group: TERM, a second later KILL. Exit status 0 when nothing of it runs.

    Args:
        group: a process group id, above 1.
    """
    if group <= 1:
        raise ValueError(f"not a process group that may be ended: {group}")
    return script(_END_GROUP, "dagengine-end", str(group))


@dataclass(slots=True)
class GroupIdParser:
    """Finds the announced group in the first bytes of stdout.

    Attributes:
        group: the process group; None as long as it is not known, 0 when the command has
            none of its own.
        noise: the last of what a login shell's start-up files printed before.
    """

    group: int | None = None
    noise: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; the part of it that the command itself wrote is returned."""
        if self.group is not None:
            return data
        before, mark, rest = (self.noise + data).partition(_MARK)
        number, end, output = rest.partition(b"\n")
        if mark and end:
            self.group, self.noise = int(number), before
            return output
        self.noise = (before + mark + number)[-_NOISE_LIMIT_BYTES:]
        return b""
