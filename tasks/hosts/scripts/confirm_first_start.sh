# shellcheck shell=sh
# $1 home. Run once root can log in: from then on, the files of a first start are the server's data.
. ./bounded.sh
if bounded 5 rm -f "$1/.dagengine-first-start"; then echo "done=yes"; fi
