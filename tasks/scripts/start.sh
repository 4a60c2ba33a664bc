# shellcheck shell=sh
# $1 home, $2 marker, $3 evidence of a completed first start, $4 "yes" if a first start is allowed,
# $5 log, $6 exit status of a program that is running already, then the command line. Inspect, start and
# report under the lock on the home directory itself (no lock file), so that two controllers or two
# attempts cannot both start it.
. ./find_server.sh

home=$1 marker=$2 before=$3 may_be_first=$4 log=$5 busy=$6
shift 6
exec 9<"$home" || exit 70
flock -w 25 9 || { echo "outcome=locked"; exit 0; }
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
if find_server; then echo "outcome=running"; tell_server; exit 0; fi
if ! [ -e "$before" ]; then
    [ "$may_be_first" = yes ] || { echo "outcome=never_started"; exit 0; }
    aside="$home/failed-start-$(date -u +%Y%m%dT%H%M%SZ)"
    for part in etc store; do
        [ -e "$home/$part" ] || continue
        mkdir -p "$aside" && mv "$home/$part" "$aside/" && echo "moved_aside=$aside/$part"
    done
fi
echo "log_from=$(stat -c %s "$log" 2>/dev/null || echo 0)"
# The file loses its name at once, so that nothing stays however this script ends.
said=$(mktemp) && exec 8<>"$said" && rm -f "$said" || exit 71
tries=0
while :; do
    # --foreground: it stays in this script's group, and is ended with it.
    (cd "$home" && DAGENGINE_START=$marker exec timeout --foreground -k 2 20 setsid -w \
        "$@" </dev/null >&8 2>&1 8>&- 9<&-)
    status=$?
    # Already running? While an old process is a zombie the program takes it for alive.
    [ "$status" = "$busy" ] && ! find_server && [ "$tries" -lt 40 ] || break
    tries=$((tries + 1))
    sleep 0.25
done
echo "status=$status"
tail -n 3 /proc/self/fd/8 | sed 's/^/said=/'
tries=0
while ! find_server && [ "$status" = 0 ] && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
echo "outcome=launched"
tell_server
