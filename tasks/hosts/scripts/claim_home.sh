# shellcheck shell=sh
# $1 home, $2 fencing token, $3 the content of the fence that the user has seen: a token with its
# instant, `damaged` or nothing. Records the token, whatever store the fence names, unless the fence
# has changed since.
. ./bounded.sh
. ./fence.sh
home=$1
bounded 2 test -d "$home" || { echo "outcome=unanswered"; exit 0; }
exec 9<"$home" || exit 70
flock -w 25 9 || { echo "outcome=locked"; exit 0; }
read_fence
[ "$fence_state" != damaged ] || recorded=damaged
[ "$recorded" = "$3" ] || { echo "outcome=changed"; exit 0; }
if record_fence "$2"; then echo "outcome=claimed"; fi
