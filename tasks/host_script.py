"""The part of the facts script that looks at the host around a server. POSIX, bounded.

It needs $home, $binary, $data, $redo (both may be empty), $units (directories, one a line, below
which systemd keeps links to the units that it starts) and $uid, and the functions of commands.py.
"""

from __future__ import annotations

# Whose is it, may we write there, how much is free. `df` waits for ever on a dead network file
# system; the command's own time-out ends it then.
PLACES = r"""
set --
for part in "$home/etc" "$home/log" "$home/run" "$home/store" "$data" "$redo"; do
    [ -n "$part" ] && [ -e "$part" ] || continue
    set -- "$@" "$part"
    [ -w "$part" ] || echo "unwritable=$part"
done
[ $# -gt 0 ] && stat -L -c '%u %n' "$@" | while read -r whose part; do
    [ "$whose" = "$uid" ] || echo "foreign=$whose $part"
done
set --
for part in "$home" "$home/store" "$data" "$redo"; do
    [ -n "$part" ] && [ -e "$part" ] && set -- "$@" "$part"
done
# One line for each, in their order, below a heading.
[ $# -gt 0 ] && df -P -B1 "$@" 2>/dev/null | {
    read -r heading
    while read -r device blocks used free rest; do
        echo "disk=$free $device $1"
        shift
    done
}
"""

# ldd does not run the program. A home's own libraries are in lib/. Behind a link the program looks
# for some beside itself, which ldd does only when it is given the real path.
PROGRAM = r"""
if [ -x "$binary" ]; then
    stat -L -c 'program_bytes=%s' "$binary"
    LD_LIBRARY_PATH="$home/lib" timeout 5 ldd "$(readlink -f "$binary")" 2>/dev/null </dev/null |
        sed -n 's/^[[:space:]]*\([^[:space:]]*\) => not found.*/missing=\1/p'
fi
"""

LIMITS = r"""
sed -n -e 's/^Max open files  *\([^ ]*\) .*/open_files=\1/p' \
    -e 's/^Max processes  *\([^ ]*\) .*/processes=\1/p' \
    -e 's/^Max core file size  *\([^ ]*\) .*/core_bytes=\1/p' /proc/self/limits
{ read -r aio </proc/sys/fs/aio-max-nr && echo "aio_max=$aio"; } 2>/dev/null
{ read -r aio </proc/sys/fs/aio-nr && echo "aio_used=$aio"; } 2>/dev/null
sed -n -e 's/^MemTotal: *\([0-9]*\) kB/total_kib=\1/p' \
    -e 's/^MemAvailable: *\([0-9]*\) kB/available_kib=\1/p' /proc/meminfo
"""

# Who else looks after this home: an OBShell that runs there, a unit that systemd starts at boot.
MANAGERS = r"""
for dir in $(grep -l -s -x obshell /proc/[0-9]*/comm); do
    dir=${dir%/comm}
    first=$(tr '\0' '\n' <"$dir/cmdline" 2>/dev/null | head -n 1)
    if [ "$dir/exe" -ef "$home/bin/obshell" ] || [ "$first" -ef "$home/bin/obshell" ] ||
        [ "$dir/cwd" -ef "$home" ]; then echo "obshell=${dir#/proc/}"; fi
done
printf '%s\n' "$units" "$HOME/.config/systemd/user" | {
    set --
    while read -r place; do
        for unit in "$place"/*.wants/*.service; do [ -e "$unit" ] && set -- "$@" "$unit"; done
    done
    [ $# -eq 0 ] || grep -H -s -F -e "$home" "$@"
} | while read -r line; do
    unit=${line%%.service:*}
    case "${line#*.service:} " in
    *[=\ \"\']"$home"[/\ \"\']*) echo "unit=${unit##*/}.service" ;;
    esac
done
sed 's/^/own_group=/' /proc/self/cgroup 2>/dev/null
"""

# $ports: what must be free. A server that has just ended may hold a port a little longer than it
# can be found. The kernel's tables take 8 ms each to read, however little stands in them: one look
# is for all ports.
PORTS = r"""
look_at_ports() {
    taken=" $(echo $(sed -n 's/^ *[0-9]*: [0-9A-F]*:\([0-9A-F]*\) [0-9A-F]*:0000 0A .*/\1/p' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null)) "
}
is_taken() {
    case $taken in *" $(printf '%04X' "$1") "*) return 0 ;; esac
    return 1
}
tries=0
look_at_ports
for port in $ports; do
    while is_taken "$port" && ! find_server && [ "$tries" -lt 10 ]; do
        tries=$((tries + 1))
        sleep 0.2
        look_at_ports
    done
    is_taken "$port" || continue
    echo "listening=$port"
    find_server || ss -H -l -t -n -p "sport = :$port" 2>/dev/null | head -n 1 |
        sed -n "s/.*users:((\"\([^\"]*\)\",pid=\([0-9]*\).*/listener=$port \1, pid \2/p"
done
tell_server
[ -n "$pid" ] && sed 's/^/group=/' "/proc/$pid/cgroup" 2>/dev/null
"""

# The program's own word. It takes half a second, so it is asked for by `doctor` only.
VERSION = r"""
LD_LIBRARY_PATH="$home/lib" timeout 10 "$binary" -V 2>&1 </dev/null |
    sed -n 's/.*(OceanBase[^)]* \([0-9][0-9.]*\)).*/version=\1/p' | head -n 1
"""
