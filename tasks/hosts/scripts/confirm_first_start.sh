# shellcheck shell=sh
# $1 home, $2 fencing token. Run once root can log in: from then on, the files of a first start are
# the server's data.
. ./bounded.sh
. ./fence.sh
home=$1
bounded 2 test -d "$home" || exit 0
exec 9<"$home" && flock -w 10 9 || exit 0
take_fence "$2" || [ $? -eq 2 ] || exit 0
if bounded 5 rm -f "$home/.dagengine-first-start"; then echo "done=yes"; fi
