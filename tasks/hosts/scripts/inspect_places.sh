# shellcheck shell=sh
# Owner, permissions and free space of the directories to which the server writes.
# shellcheck disable=SC2154  # home data redo uid
print_places() {
    set --
    for part in "$home/etc" "$home/log" "$home/run" "$home/store" "$data" "$redo"; do
        [ -n "$part" ] && [ -e "$part" ] || continue
        set -- "$@" "$part"
        [ -w "$part" ] || echo "unwritable=$part"
    done
    [ $# -eq 0 ] || stat -L -c '%u %n' "$@" | while read -r owner_of part; do
        [ "$owner_of" = "$uid" ] || echo "foreign=$owner_of $part"
    done
    set --
    for part in "$home" "$home/store" "$data" "$redo"; do
        [ -n "$part" ] && [ -e "$part" ] && set -- "$@" "$part"
    done
    # df prints a heading, then one line per path, in the order of the arguments.
    [ $# -eq 0 ] || df -P -B1 "$@" 2>/dev/null | {
        read -r _
        while read -r device _ _ free _; do
            echo "disk=$free $device $1"
            shift
        done
    }
}
