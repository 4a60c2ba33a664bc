# shellcheck shell=sh
# $1 home, $2 program (seekdb or observer), $3 marker: id of the DAG, $4 kind: first, leftover (a
# first start failed here) or later, $5 data directory, $6 redo directory (both may be empty), $7
# log, $8 exit status of the program if it is running already, $9 seconds after which this script has
# ended, then the fencing token and the command line. Inspects, starts and reports under the lock on
# the home directory itself (no lock file), so that two controllers or attempts cannot both start the
# server. Verifies the controller's decision before it moves or writes anything but the fence.
. ./find_server.sh
. ./lock_holders.sh
. ./home_files.sh
. ./fence.sh
home=$1 program=$2 marker=$3 kind=$4 data=$5 redo=$6 log=$7 busy=$8 total=$9
shift 9
fence=$1
shift
# The lock and the launch may take two fifths of the time each, examinations and the report the rest.
wait_s=$((total * 2 / 5)) report_s=$((total / 10))
expire_in $((total - wait_s - report_s))
launch_at=$expiry ends_by=$((uptime + total))
marker_file=$home/.dagengine-first-start

holds_nothing() {
    for part in "$home/etc" "$home/store" "$data" "$redo"; do
        [ -n "$part" ] && [ -e "$part" ] || continue
        [ -z "$(first_files "$part")" ] || return 1
    done
    [ ! -e "$home/run/telemetry.json" ]
}

# Whether the server has recorded its configuration here.
has_record() {
    [ -e "$home/store/sstable/meta.db" ] || [ -e "$home/etc/$program.config.bin" ] ||
        [ -e "$home/etc/meta.db" ]
}

# Whether the files of this home come from a failed first start: all are newer than its marker, and
# all are in its own directories, on its own file system.
is_leftover() {
    [ ! -e "$home/run/telemetry.json" ] && [ -f "$marker_file" ] || return 1
    read -r _ inode size _ <"$marker_file" || return 1
    case $inode$size in *[!0-9]* | '') return 1 ;; esac
    has_completed_boot "$inode" "$size" && return 1
    [ ! -e "$home/etc/$program.config.bin" ] && [ ! -e "$home/etc/meta.db" ] || return 1
    [ -e "$home/store/sstable/meta.db" ] || [ ! -e "$home/store" ] ||
        [ -z "$(first_files "$home/store")" ] || return 1
    for part in etc store; do
        if is_fixed "$home/$part"; then
            [ -z "$(first_files "$home/$part")" ] || return 1
            continue
        fi
        [ ! -e "$home/$part" ] || [ -z "$(first_older_file "$home/$part")" ] || return 1
    done
    store=$(readlink -f "$home/store")
    for part in "$data" "$redo"; do
        [ -n "$part" ] && [ -e "$part" ] || continue
        case $(readlink -f "$part")/ in "$store"/*) continue ;; esac
        [ -z "$(first_files "$part")" ] || return 1
    done
}

# change COMMAND...: run a command that changes the home, for at most a tenth of the time: even on a
# local disk, it hangs while that is frozen. It keeps the lock until it has ended, so that a hung one moves nothing that a
# later start has made. Sets stuck if it does not end.
change() {
    mounts='' keeps_lock=yes child=''
    bounded "$report_s" "$@"
    changed=$?
    mounts=/proc/self/mounts keeps_lock=''
    if [ "$changed" -eq 124 ] && [ -n "$child" ]; then stuck=$child; fi
    return "$changed"
}

move_aside() {
    aside=$home/failed-start-$(date -u +%Y%m%dT%H%M%SZ)
    change exec mkdir "$aside" || return
    for part in etc store; do
        bounded 5 is_movable "$home/$part" || { [ $? -lt 124 ] && continue; return 124; }
        change exec mv "$home/$part" "$aside/" || return
        echo "moved_aside=$aside/$part"
    done
}

is_movable() {
    [ -e "$1" ] && ! is_fixed "$1"
}

# Record the start about to be tried, with inode and size of the log before it.
# `exec`: the child that is reported as hung is then mv itself.
write_marker() {
    draft=$marker_file.$$
    set -C
    printf '%s %s\n' "$marker" "$(stat -c '%i %s' "$log" 2>/dev/null || echo 0 0)" >"$draft" &&
        exec mv -f -T "$draft" "$marker_file"
}

prepare() {
    case $kind in
    later) bounded 5 has_record ;;
    leftover) bounded 5 is_leftover && move_aside && bounded 5 holds_nothing && change write_marker ;;
    first) bounded 5 holds_nothing && change write_marker ;;
    *) false ;;
    esac
}

# Run the program in the home and set outcome to its status. Fails if it does not end, which happens
# on a dead mount: then `timeout` waits for it in vain; it ends once the mount responds, because it was
# sent SIGKILL before. A background command ignores SIGINT and SIGQUIT; `timeout` resets them for the
# program, or else, if it respects that, `env` can do so.
launch() {
    left=$((launched_by - uptime))
    # --foreground: the command stays in this script's process group and is killed with it.
    # shellcheck disable=SC2086  # words
    (exec </dev/null >&8 2>&1 7>&- 8>&- 9<&- && cd "$home" && DAGENGINE_START=$marker \
        exec $reset timeout --foreground -k $((left / 8 + 1)) $((left * 3 / 4)) setsid -w "$@") &
    # By the clock: `timeout` has sent SIGKILL by then, and the report needs the rest of the time.
    wait_for_child "$!" $((left + 1)) $((left * 10))
}

# The program's last lines. The first byte is the line end that open_spool has written.
last_lines() { tail -c +2 /proc/self/fd/8 | tail -n 3; }

# Print the last lines of the program's output; of more than 4 KiB the first and the last 2 KiB.
tell_output() {
    size=$(last_lines | wc -c)
    if [ "$size" -le 4096 ]; then
        last_lines | sed 's/^/said=/'
    else
        last_lines | head -c 2048 | sed 's/^/said=/'
        echo
        echo "omitted=$((size - 4096))"
        tail -c 2048 /proc/self/fd/8 | sed 's/^/said_last=/'
    fi
    echo
}

locate_home && [ -n "$home_id" ] || { echo "outcome=unanswered"; exit 0; }
exec 9<"$home" || exit 70
flock -w "$wait_s" 9 || { echo "outcome=locked"; print_lock_holders; exit 0; }
take_fence "$fence" || { [ $? -eq 1 ] || echo "outcome=unrecorded"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
find_server
if [ -n "$doubts" ]; then echo "outcome=doubtful"; tell_server; exit 0; fi
if [ -n "$pid" ]; then echo "outcome=running"; tell_server; exit 0; fi
stuck=''
prepare
prepared=$?
if [ -n "$stuck" ]; then echo "stuck=$stuck"; echo "outcome=stuck"; exit 0; fi
read_uptime
[ "$uptime" -le "$launch_at" ] || prepared=124
case $prepared in
0) ;;
124 | 125) echo "outcome=unanswered"; exit 0 ;;
*) echo "outcome=changed"; exit 0 ;;
esac
echo "log_from=$(bounded 2 stat -c %s "$log" || echo 0)"
# The file has no name, so that it disappears however this script ends.
if ! open_spool; then
    echo 'neither /tmp nor /dev/shm accepts a temporary file' >&2
    exit 71
fi
exec 8<&7 7>&-
read_uptime
# The report has all of the time that is left: on a busy host, it takes long to examine a process.
launched_by=$((uptime + wait_s)) expiry=$ends_by
tries=0 reset='env --default-signal=INT,QUIT'
$reset true 2>/dev/null || reset=''
while :; do
    # Its process, which has been killed, is reported as a doubt.
    launch "$@" || { find_server; echo "outcome=hung"; tell_server; exit 0; }
    status=$outcome
    read_uptime
    # Already running? The program takes the zombie of an old process for a running server.
    [ "$status" = "$busy" ] && ! find_server && [ "$tries" -lt 40 ] && [ $((launched_by - uptime)) -gt 1 ] ||
        break
    tries=$((tries + 1))
    sleep 0.25
done
echo "status=$status"
tell_output
tries=0
while ! find_server && [ "$status" = 0 ] && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
echo "outcome=launched"
tell_server
