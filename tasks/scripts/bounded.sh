# shellcheck shell=sh
# bounded SECONDS COMMAND...: run a command, or a function, that may hang in the kernel (a dead NFS or
# FUSE mount) and print its output; status 124 when the time was up. What hangs is left behind: nothing
# can end it. It holds neither the lock (descriptor 9) nor the output of this script. `timeout` would
# wait for it.
bounded() {
    ticks=$(($1 * 20))
    shift
    spool=$(mktemp 2>/dev/null || mktemp -p /dev/shm) && exec 7<>"$spool" && rm -f "$spool" || return 125
    "$@" </dev/null >&7 2>/dev/null 9<&- 8>&- &
    child=$!
    pause=0.01
    while { read -r state <"/proc/$child/stat"; } 2>/dev/null; do
        case ${state##*) } in Z*) break ;; esac
        [ "$ticks" -gt 0 ] || break
        ticks=$((ticks - 1))
        sleep "$pause"
        pause=0.05
    done
    if [ "$ticks" -gt 0 ]; then
        wait "$child"
        outcome=$?
    else
        kill -s KILL "$child" 2>/dev/null
        outcome=124
    fi
    cat /proc/self/fd/7
    exec 7>&-
    return "$outcome"
}
