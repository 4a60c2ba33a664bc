# shellcheck shell=sh
# lives PID START: whether this process exists (START: clock ticks since boot). A zombie counts as
# dead, unless other threads of it are still ending: they hold its ports and files, although the
# process no longer has a working directory or command line.
lives() {
    wanted=$2
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    [ "${20}" = "$wanted" ] && { [ "$1" != Z ] || [ "${18}" -gt 1 ]; }
}
