# shellcheck shell=sh
# $1 home. A start in progress holds the lock on the home directory.
. ./bounded.sh
bounded 2 test -d "$1"
case $? in
0) exec 9<"$1" && flock -w 45 9 && echo "quiet=yes" ;;
124) echo "unanswered=$1" ;;
*) echo "quiet=yes" ;;
esac
