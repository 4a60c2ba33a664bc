# shellcheck shell=sh
# Print `holder=PID NAME` for each process with a lock on the home, as far as this login can see it. A
# command that hangs while it changes the home keeps the lock until it has ended. Call locate_home
# first, or set real_home.
# shellcheck disable=SC2154  # real_home
print_lock_holders() {
    pattern=$(printf '%s' "$real_home" | sed 's/[][*?\\]/\\&/g')
    find /proc/[0-9]*/fd -maxdepth 1 -lname "$pattern" 2>/dev/null | while read -r file; do
        grep -q -s '^lock:.*FLOCK' "${file%/fd/*}/fdinfo/${file##*/}" || continue
        holder=${file#/proc/} holder=${holder%%/*}
        { read -r name <"/proc/$holder/comm"; } 2>/dev/null && echo "holder=$holder $name"
    done
}
