# shellcheck shell=sh
# $1 home, $2 log, $3 offset in bytes, $4 pid, $5 its start time in clock ticks since boot (0:
# unknown), then the ports of the server. Only kernel messages since the start time are reported.
. ./connections.sh
. ./log_errors.sh
home_id='' home=$1 log=$2 from=$3 pid=$4 since=$(($5 / 100))
shift 5
for port in "$@"; do
    hex=$(printf '%04X' "$port")
    if grep -q -s "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6; then
        echo "taken=$port"
        print_listeners "$port"
    else print_connections "$port"
    fi
done
print_log() {
    if size=$(stat -c %s "$log" 2>/dev/null); then
        print_log_errors "$log" "$from" | sed 's/^/log=/'
        [ "$from" -le "$size" ] || from=0
        [ "$size" -le "$from" ] || echo "log_grew=yes"
    else
        echo "log_missing=yes"
    fi
}
bounded 5 print_log

kernel() {
    timeout 3 dmesg 2>/dev/null ||
        timeout 5 journalctl -k -b -q --no-pager -o short-monotonic -n 3000 2>/dev/null
}
if said=$(kernel); then
    echo "kernel_readable=yes"
    printf '%s\n' "$said" | grep -a -E \
        'Killed process|oom-kill|segfault|traps:|general protection|I/O error|EXT4-fs error' |
        tail -n 40 | while read -r line; do
        at=${line#*[}
        at=${at%%.*}
        at=${at##* }
        case $at in '' | *[!0-9]*) at=$since ;; esac
        [ "$at" -ge "$since" ] && printf '%s\n' "$line" | cut -c 1-300 | sed 's/^/kernel=/'
    done
fi

group=$(sed -n 's/^0:://p' /proc/self/cgroup 2>/dev/null)
older=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup 2>/dev/null)
for events in "/sys/fs/cgroup$group/memory.events" \
    "/sys/fs/cgroup${group%/*}/memory.events" "/sys/fs/cgroup/memory$older/memory.oom_control"; do
    sed -n 's/^oom_kill /oom_kills=/p' "$events" 2>/dev/null
done

pattern=$(cat /proc/sys/kernel/core_pattern 2>/dev/null)
boot=$(sed -n 's/^btime //p' /proc/stat 2>/dev/null)
begun=$((${boot:-0} + since))
tell_cores() {
    case $1 in
    home) set -- "$home"/core* ;;
    *) set -- "${pattern%/*}"/*"$pid"* ;;
    esac
    for file in "$@"; do
        [ -f "$file" ] && [ "$(stat -c %Y "$file")" -ge "$begun" ] &&
            printf 'core=%s, %s bytes\n' "$(printf %s "$file" | tr '\n' '?')" "$(stat -c %s "$file")"
    done
}
if [ "$pid" -gt 0 ]; then
    bounded 3 tell_cores home
    case $pattern in
    "|"*) timeout 5 coredumpctl --no-pager --no-legend list "$pid" 2>/dev/null |
        tail -n 1 | sed 's/^/core=coredumpctl: /' ;;
    /*) bounded 3 tell_cores pattern ;;
    esac
fi

print_space() {
    # shellcheck disable=SC2046  # fields
    set -- $(df -P -B1 "$home" 2>/dev/null | tail -n 1)
    echo "free_bytes=$4"
    # shellcheck disable=SC2046  # fields
    set -- $(df -P -i "$home" 2>/dev/null | tail -n 1)
    echo "free_files=$4"
}
bounded 3 print_space
sed -n 's/^Max open files  *\([^ ]*\) .*/open_files=\1/p' /proc/self/limits
sed -n 's/^MemAvailable: *\([0-9]*\) kB/available_kib=\1/p' /proc/meminfo
echo "end=yes"
