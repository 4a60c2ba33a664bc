# shellcheck shell=sh
# Connections from a TCP port, which prevent a server from listening on it unless both sides have
# set SO_REUSEADDR, as a server and the connections that it accepted have.
. ./listening.sh

# Print `connection=PORT STATE UID PID NAME` for up to 3 connections whose local port is $1, without
# listening and half-open ones. STATE is `ended` if no process has it open, as in TIME_WAIT, or
# `open`; PID is 0 if it is not visible.
print_connections() {
    hex=$(printf '%04X' "$1")
    sed -n "s/^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F:]* \([0-9A-F]*\) [^ ]* [^ ]* [^ ]*  *\([0-9]*\)  *[^ ]*  *\([0-9]*\) .*/\1 \2 \3/p" \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -v '^0[3AC] ' | sort -u | head -n 3 |
        while read -r condition uid_of inode; do
            holder='' name=''
            if [ "$inode" = 0 ]; then condition=ended; else
                condition=open
                holder=$(find_holder "$inode")
            fi
            [ -z "$holder" ] || name=$(tr '\n' '?' 2>/dev/null <"/proc/$holder/comm")
            printf 'connection=%s %s %s %s %s\n' "$1" "$condition" "$uid_of" "${holder:-0}" "${name%\?}"
        done
}

# Print the range from which the kernel chooses the source ports of connections. `read` of dash reads
# single bytes, and the kernel returns this file only as a whole.
print_source_ports() {
    range=$(cat /proc/sys/net/ipv4/ip_local_port_range 2>/dev/null) || return 0
    # shellcheck disable=SC2086  # words
    printf 'source_ports=%s %s\n' $range
}
