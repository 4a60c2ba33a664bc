# shellcheck shell=sh
# $1 log, $2 offset in bytes. Print the last error lines after the offset.
size=$(stat -c %s "$1" 2>/dev/null) || exit 0
from=$2
[ "$from" -gt "$size" ] && from=0
[ $((size - from)) -gt 4000000 ] && from=$((size - 4000000))
tail -c "+$((from + 1))" "$1" | grep -a -E ' (ERROR|EDIAG) ' | tail -n 40 | cut -c 1-600
