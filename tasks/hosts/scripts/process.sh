# shellcheck shell=sh
# $1 home, $2 program
. ./find_server.sh
home=$1 program=$2
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
if locate_home; then
    find_server
    tell_server
    if [ -n "$pid" ] && read -r up _ </proc/uptime; then
        echo "uptime=$up"
        echo "ticks=$(getconf CLK_TCK 2>/dev/null || echo 100)"
    fi
    echo "end=yes"
else
    echo "unanswered=$home"
fi
