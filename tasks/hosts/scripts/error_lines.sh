# shellcheck shell=sh
# $1 log, $2 offset in bytes. Print the last error lines after the offset.
. ./bounded.sh
. ./log_errors.sh
bounded 5 print_log_errors "$1" "$2"
exit 0
