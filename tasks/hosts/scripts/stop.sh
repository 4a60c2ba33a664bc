# shellcheck shell=sh
# $1 home, $2 program, $3 SQL port, $4 marker: end only a server started by this DAG (empty: any),
# $5 tenths of a second between SIGTERM and SIGKILL, $6 seconds for the lock, $7 fencing token. Ends
# the server of this home, and no other process, under the lock on the home: the identity of the
# process is checked again before each signal.
. ./lives.sh
. ./find_server.sh
. ./listening.sh
. ./lock_holders.sh
. ./fence.sh
home=$1 program=$2 sql_port=$3 marker=$4 patience=$5 fence=$7
# The output is read until the end of the script, so a failed write means that the controller, or
# the connection to it, has gone. Then this script ends: only a stop that can still be cancelled sends
# SIGKILL. The time is that of the clock, but at least half of the polls are made: the host may have
# been paused.
wait_end() {
    read_centiseconds
    ends_at=$((centiseconds + $1 * 10)) polls=0
    while lives "$first" "$since"; do
        [ "$centiseconds" -lt "$ends_at" ] || [ "$polls" -lt $(($1 / 2)) ] || return 1
        [ $((polls % 10)) -ne 0 ] || echo "waiting=yes" 2>/dev/null || exit 1
        polls=$((polls + 1))
        sleep 0.1
        read_centiseconds
    done
}
# Report the end together with any listeners on the SQL port, which would contradict it.
report_end() {
    print_listeners "$sql_port"
    echo "outcome=$1"
}
locate_home || { echo "outcome=unanswered"; exit 0; }
if [ -n "$home_id" ] && [ -d "$home" ]; then
    exec 9<"$home" || exit 70
    flock -w "$6" 9 || { echo "outcome=locked"; print_lock_holders; exit 0; }
    take_fence "$fence" || [ $? -eq 2 ] || exit 0
fi
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
find_server
tell_server
[ -z "$doubts" ] || { echo "outcome=doubtful"; exit 0; }
[ -n "$pid" ] || { report_end gone; exit 0; }
[ -z "$marker" ] || [ "$by" = "$marker" ] || { echo "outcome=other_dag"; exit 0; }
[ "$owner" = "$(id -u)" ] || { echo "outcome=other_user"; exit 0; }
first=$pid since=$started
kill -s TERM "$first" || { echo "outcome=refused"; exit 0; }
if wait_end "$patience"; then report_end stopped; exit 0; fi
lives "$first" "$since" && kill -s KILL "$first"
if wait_end 100; then report_end killed; else echo "outcome=alive"; fi
