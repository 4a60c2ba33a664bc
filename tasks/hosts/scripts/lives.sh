# shellcheck shell=sh
# lives PID START: whether this process exists (START: clock ticks since boot). A zombie counts as
# dead, unless other threads of it are still ending: they hold its ports and files, although the
# process no longer has a working directory or command line.
. ./read_stat.sh

lives() {
    wanted=$2
    read_stat "$1" || return 1
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    [ "${20}" = "$wanted" ] && { [ "$1" != Z ] || [ "${18}" -gt 1 ]; }
}
