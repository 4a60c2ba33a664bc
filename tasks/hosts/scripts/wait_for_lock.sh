# shellcheck shell=sh
# $1 home, $2 seconds, $3 fencing token. Wait until no command holds the lock on the home directory,
# then record the token: an older command that arrives later does nothing.
. ./bounded.sh
. ./lock_holders.sh
. ./fence.sh
home=$1
bounded 2 test -d "$home"
case $? in
0)
    exec 9<"$home" || exit 70
    if flock -w "$2" 9; then
        take_fence "$3" || [ $? -eq 2 ] || exit 0
        echo "quiet=yes"
    else
        real_home=$(bounded 2 readlink -f "$home")
        print_lock_holders
    fi
    ;;
1) echo "quiet=yes" ;;
*) echo "unanswered=$home" ;;
esac
