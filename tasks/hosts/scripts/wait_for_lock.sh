# shellcheck shell=sh
# $1 home. A start in progress holds the lock on the home directory.
[ -d "$1" ] || { echo "quiet=yes"; exit 0; }
exec 9<"$1" && flock -w 45 9 && echo "quiet=yes"
