# shellcheck shell=sh
# $1 home, $2 program (seekdb or observer), $3 marker: id of the DAG, $4 kind: first, leftover (a
# first start failed here) or later, $5 data directory, $6 redo directory (both may be empty), $7
# log, $8 exit status of the program if it is running already, then the command line. Inspects,
# starts and reports under the lock on the home directory itself (no lock file), so that two
# controllers or attempts cannot both start the server. Verifies the controller's decision before it
# moves or writes anything.
. ./find_server.sh
. ./home_files.sh
home=$1 program=$2 marker=$3 kind=$4 data=$5 redo=$6 log=$7 busy=$8
shift 8
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

move_aside() {
    aside=$home/failed-start-$(date -u +%Y%m%dT%H%M%SZ)
    mkdir "$aside" || return 1
    for part in etc store; do
        [ -e "$home/$part" ] || continue
        ! is_fixed "$home/$part" || continue
        mv "$home/$part" "$aside/" || return 1
        echo "moved_aside=$aside/$part"
    done
}

# Record the start about to be tried, with inode and size of the log before it.
write_marker() {
    draft=$marker_file.$$
    (set -C && printf '%s %s\n' "$marker" "$(stat -c '%i %s' "$log" 2>/dev/null || echo 0 0)" >"$draft") &&
        mv "$draft" "$marker_file"
}

prepare() {
    case $kind in
    later) bounded 5 has_record ;;
    leftover) bounded 5 is_leftover && move_aside && bounded 5 holds_nothing && write_marker ;;
    first) bounded 5 holds_nothing && write_marker ;;
    *) false ;;
    esac
}

# Run the program in the home and set outcome to its status. Fails if it does not end, which happens
# on a dead mount: then `timeout` waits for it in vain. A background command ignores SIGINT and
# SIGQUIT; `timeout` resets them for the program, or else, if it respects that, `env` can do so.
launch() {
    # --foreground: the command stays in this script's process group and is killed with it.
    # shellcheck disable=SC2086  # words
    (exec </dev/null >&8 2>&1 7>&- 8>&- 9<&- && cd "$home" && DAGENGINE_START=$marker \
        exec $reset timeout --foreground -k 2 20 setsid -w "$@") &
    wait_for_child "$!" 25
}

locate_home && [ -n "$home_id" ] || { echo "outcome=unanswered"; exit 0; }
exec 9<"$home" || exit 70
flock -w 25 9 || { echo "outcome=locked"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
find_server
if [ -n "$doubts" ]; then echo "outcome=doubtful"; tell_server; exit 0; fi
if [ -n "$pid" ]; then echo "outcome=running"; tell_server; exit 0; fi
prepare
case $? in
0) ;;
124 | 125) echo "outcome=unanswered"; exit 0 ;;
*) echo "outcome=changed"; exit 0 ;;
esac
echo "log_from=$(bounded 2 stat -c %s "$log" || echo 0)"
# The file has no name, so that it disappears however this script ends.
open_spool && exec 8<&7 7>&- || exit 71
tries=0 reset='env --default-signal=INT,QUIT'
$reset true 2>/dev/null || reset=''
while :; do
    launch "$@" || { echo "outcome=hung"; exit 0; }
    status=$outcome
    # Already running? The program takes the zombie of an old process for a running server.
    [ "$status" = "$busy" ] && ! find_server && [ "$tries" -lt 40 ] || break
    tries=$((tries + 1))
    sleep 0.25
done
echo "status=$status"
tail -n 3 /proc/self/fd/8 | sed 's/^/said=/'
echo
tries=0
while ! find_server && [ "$status" = 0 ] && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
echo "outcome=launched"
tell_server
