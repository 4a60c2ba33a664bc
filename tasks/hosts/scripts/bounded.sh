# shellcheck shell=sh
# bounded SECONDS COMMAND...: run a command or function that may hang in the kernel (on a dead NFS
# or FUSE mount) and print its output; the status is 124 after a time-out. A hung process is left
# behind, since it cannot be killed; it holds neither the lock (descriptor 9, unless keeps_lock is
# set) nor the output of this script. `timeout` would wait for it. Costs some processes, so it takes
# effect only where a mount may hang: see `may_hang`. The limit ends at `expiry`. Sets child.
bounded() {
    if ! may_hang "$mounts"; then
        shift
        "$@" </dev/null 2>/dev/null
        return
    fi
    limit=$1
    shift
    if [ -n "$expiry" ]; then
        read_uptime
        [ $((expiry - uptime)) -ge "$limit" ] || limit=$((expiry - uptime))
        [ "$limit" -gt 0 ] || return 124
    fi
    open_spool || return 125
    # `exec`: with redirections on the command itself, the shell would keep copies of the old
    # descriptors.
    (exec </dev/null >&7 2>/dev/null 7>&- 8>&- && { [ -n "$keeps_lock" ] || exec 9<&-; } && "$@") &
    child=$!
    wait_for_child "$child" "$limit" $((limit * 20)) || outcome=124
    tail -c +2 /proc/self/fd/7
    exec 7>&-
    return "$outcome"
}

# Set uptime to the whole seconds since the host was started.
read_uptime() {
    read -r uptime _ </proc/uptime
    uptime=${uptime%%.*}
}

# expire_in SECONDS: let the commands of `bounded` end by then; an earlier expiry remains.
expire_in() {
    read_uptime
    [ -n "$expiry" ] && [ "$expiry" -le $((uptime + $1)) ] || expiry=$((uptime + $1))
}

# Set centiseconds to those since the host was started.
read_centiseconds() {
    read -r centiseconds _ </proc/uptime
    centiseconds=${centiseconds%.*}${centiseconds#*.}
}

# wait_for_child PID SECONDS POLLS: wait until a background child has ended and set outcome to its
# status. Fails when SECONDS have passed by the clock and POLLS polls (at most 20 in a second) have
# been made: on a host that is busy or was paused, the child has run for a part of the time only. The
# child is then killed, but not waited for.
wait_for_child() {
    read_centiseconds
    ends_at=$((centiseconds + $2 * 100)) polls=$3 pause=0.01
    while { read -r state <"/proc/$1/stat"; } 2>/dev/null; do
        case ${state##*) } in Z*) break ;; esac
        if [ "$centiseconds" -ge "$ends_at" ] && [ "$polls" -le 0 ]; then
            kill -s KILL "$1" 2>/dev/null
            return 1
        fi
        polls=$((polls - 1))
        sleep "$pause"
        case $pause in 0.01) pause=0.02 ;; *) pause=0.05 ;; esac
        read_centiseconds
    done
    outcome=0
    wait "$1" || outcome=$?
}

# open_spool: open a temporary file without a name as descriptor 7, and write an empty line to it,
# which fails on a full disk. A signal that would end this script is ignored until the name is
# removed, also by mktemp; otherwise the file would remain.
open_spool() {
    trap '' HUP INT TERM
    opened=1
    for spool in "${TMPDIR:-/tmp}" /dev/shm; do
        spool=$(mktemp -p "$spool" 2>/dev/null) || continue
        exec 7<>"$spool"
        rm -f "$spool"
        if printf '\n' >&7 2>/dev/null; then opened=0; break; fi
        exec 7>&-
    done
    trap - HUP INT TERM
    return "$opened"
}

# may_hang FILE: whether a mount table (below /proc) has a mount that is not known to be local. An
# unreadable table may have one. Starts no process.
may_hang() {
    [ "$known_mounts" != "$1" ] || return "$known_answer"
    known_mounts=$1 known_answer=0
    [ -r "$1" ] || return 0
    while read -r _ _ type _; do
        case $type in
        ext[234] | xfs | btrfs | zfs | f2fs | jfs | reiserfs | bcachefs | tmpfs | ramfs | overlay | aufs | rootfs | \
            squashfs | erofs | iso9660 | vfat | proc | sysfs | devtmpfs | devpts | mqueue | hugetlbfs | cgroup | \
            cgroup2 | securityfs | pstore | bpf | tracefs | debugfs | configfs | efivarfs | binfmt_misc | \
            fusectl | nsfs | selinuxfs | rpc_pipefs) ;;
        *) return 0 ;;
        esac
    done 2>/dev/null <"$1"
    known_answer=1
    return 1
}
mounts=/proc/self/mounts known_mounts='' known_answer='' expiry='' keeps_lock=''
may_hang "$mounts" || : # cache the result for all calls
