# shellcheck shell=sh
# $1 program of the servers, $2 seconds between two signs of life, $3 seconds of silence after which
# this script ends, $4 seconds between two searches for a server that does not run, then their homes.
# Prints `server=INDEX PID STARTED`, `server=INDEX none` or `server=INDEX unknown` for every server at
# first and when it changes, and `life=yes` as sign of life, which must be answered with a line on
# stdin. Once a second, known processes are checked; while a server does not run, a new process with
# the name of a server makes a search due. Neither starts a process. This script ends when stdin ends or
# stays silent, and when a line cannot be printed.
. ./find_server.sh
. ./lives.sh

program=$1 life_s=$2 silence_s=$3 search_s=$4
shift 4

# End this script when stdin ends or is silent for too long. `open_spool` ignores TERM for a moment.
# While sshd is frozen, the script remains as a zombie, which accepts signals.
end_on_silence() {
    # shellcheck disable=SC2016  # of the inner shell
    while timeout "$silence_s" sh -c 'read -r _'; do :; done
    while kill -s TERM "$$" && ! grep -q '^State:.Z' "/proc/$$/status"; do sleep 1; done
}
exec 3<&0 </dev/null
end_on_silence <&3 3<&- >/dev/null 2>&1 &
reader=$!
exec 3<&-

# Print a line; end this script if stdout is closed.
tell() {
    if ! echo "$1" 2>/dev/null; then
        kill "$reader"
        exit 1
    fi
}

# update INDEX STATE: note the state of a server, and print it if it has changed.
update() {
    eval "state=\$state_$1"
    # shellcheck disable=SC2154  # by eval
    [ "$state" != "$2" ] || return 0
    eval "state_$1=\$2"
    tell "server=$1 $2"
}

# search INDEX HOME: look for the process of a server. A process that raises a doubt leaves the state
# unknown. The mounts of the host may have changed since the last search.
search() {
    home=$2 known_mounts='' expiry=''
    if ! locate_home; then update "$1" unknown; return 0; fi
    find_server
    if [ -n "$pid" ]; then
        update "$1" "$pid $started"
    elif [ -n "$doubts" ]; then
        update "$1" unknown
    else
        update "$1" none
    fi
}

# check_known: note the processes that have ended; set running to the number of the others.
check_known() {
    index=0 running=0
    while [ "$index" -lt "$count" ]; do
        eval "state=\$state_$index"
        case $state in
        [0-9]*) if lives "${state% *}" "${state#* }"; then running=$((running + 1)); else update "$index" none; fi ;;
        esac
        index=$((index + 1))
    done
}

# search_missing HOME...: look for the processes of the servers that are not known to run.
search_missing() {
    index=0
    for home_of in "$@"; do
        eval "state=\$state_$index"
        case $state in
        [0-9]*) ;;
        *) search "$index" "$home_of" ;;
        esac
        index=$((index + 1))
    done
}

# Set named_now to the processes with the name of a server. The more processes the host has, the
# later this is due again.
find_named() {
    named_now='' number=0
    for path in /proc/[0-9]*/comm; do
        number=$((number + 1))
        read -r comm <"$path" || continue
        case $comm in seekdb | observer | "$short_name") named_now="$named_now $path" ;; esac
    done 2>/dev/null
    named_due=$((now + 1 + number / 200))
}

short_name=$(printf '%.15s' "$program")
count=$# index=0 named_now='' named_before='' life_due=0 search_due=0 named_due=0
while [ "$index" -lt "$count" ]; do
    eval "state_$index=''"
    index=$((index + 1))
done
while :; do
    check_known
    read_uptime
    now=$uptime
    if [ "$running" -lt "$count" ]; then
        [ "$now" -lt "$named_due" ] || find_named
        if [ "$named_now" != "$named_before" ]; then
            # A new process may not have its final working directory yet: search again soon.
            search_due=$((now + 2)) named_before=$named_now
            search_missing "$@"
        elif [ "$now" -ge "$search_due" ]; then
            search_due=$((now + search_s))
            search_missing "$@"
        fi
    fi
    if [ "$now" -ge "$life_due" ]; then
        tell life=yes
        life_due=$((now + life_s))
    fi
    sleep 1
done
