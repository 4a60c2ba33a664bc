# shellcheck shell=sh
# Ports that must be free, and the server. A server that has just ended may hold its port slightly
# longer than it can be identified. Reading the kernel's tables takes 8 ms, so they are read once
# for all ports.
# shellcheck disable=SC2154  # ports
read_listening() {
    # shellcheck disable=SC2046,SC2005  # one line of words
    taken=" $(echo $(sed -n 's/^ *[0-9]*: [0-9A-F]*:\([0-9A-F]*\) [0-9A-F]*:0000 0A .*/\1/p' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null)) "
}
is_taken() {
    case $taken in *" $(printf '%04X' "$1") "*) return 0 ;; esac
    return 1
}
tries=0
read_listening
find_server
for port in $ports; do
    while is_taken "$port" && [ -z "$pid$doubts" ] && [ "$tries" -lt 10 ]; do
        tries=$((tries + 1))
        sleep 0.2
        read_listening
        find_server
    done
    if ! is_taken "$port"; then
        [ -n "$pid" ] || print_connections "$port"
        continue
    fi
    echo "listening=$port"
    [ -n "$pid" ] || print_listeners "$port"
done
print_source_ports
tell_server
[ -z "$pid" ] || sed 's/^/group=/' "/proc/$pid/cgroup" 2>/dev/null
