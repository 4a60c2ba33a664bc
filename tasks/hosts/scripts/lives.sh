# shellcheck shell=sh
# lives PID START: whether this process exists (start: clock ticks since boot). A zombie is dead,
# but not while other threads of it end: they still hold its ports and files, though it has no
# working directory and no command line any more.
lives() {
    wanted=$2
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    [ "${20}" = "$wanted" ] && { [ "$1" != Z ] || [ "${18}" -gt 1 ]; }
}
