# shellcheck shell=sh
# is_server DIR: whether the process with this directory below /proc is an observer.
is_server() {
    called=$(tr '\0' '\n' <"$1/cmdline" 2>/dev/null | head -n 1)
    [ "${called##*/}" = observer ]
}
