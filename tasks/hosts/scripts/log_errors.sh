# shellcheck shell=sh
# print_log_errors LOG OFFSET: the last error lines after the offset. Sets size and from; fails if there is
# no log.
print_log_errors() {
    size=$(stat -c %s "$1" 2>/dev/null) || return 1
    from=$2
    [ "$from" -gt "$size" ] && from=0
    [ $((size - from)) -gt 4000000 ] && from=$((size - 4000000))
    tail -c "+$((from + 1))" "$1" | grep -a -E ' (ERROR|EDIAG) ' | tail -n 40 | cut -c 1-600
}
