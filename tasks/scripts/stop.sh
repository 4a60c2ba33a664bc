# shellcheck shell=sh
# $1 home, $2 marker: only a server that this DAG started (empty: any), $3 tenths of a second between
# SIGTERM and SIGKILL. Ends the server of this home under the lock on the home, and no other process.
. ./lives.sh
. ./find_server.sh

home=$1 marker=$2 patience=$3
wait_end() {
    tries=0
    while lives "$first" "$since"; do
        [ "$tries" -lt "$1" ] || return 1
        tries=$((tries + 1))
        sleep 0.1
    done
}
[ -d "$home" ] || { echo "outcome=gone"; exit 0; }
exec 9<"$home" || exit 70
flock -w 25 9 || { echo "outcome=locked"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
find_server || { echo "outcome=gone"; exit 0; }
tell_server
[ -z "$marker" ] || [ "$by" = "$marker" ] || { echo "outcome=foreign"; exit 0; }
[ "$owner" = "$(id -u)" ] || { echo "outcome=other_user"; exit 0; }
first=$pid since=$started
kill -s TERM "$first" || { echo "outcome=refused"; exit 0; }
if wait_end "$patience"; then echo "outcome=stopped"; exit 0; fi
kill -s KILL "$first"
if wait_end 100; then echo "outcome=killed"; else echo "outcome=alive"; fi
