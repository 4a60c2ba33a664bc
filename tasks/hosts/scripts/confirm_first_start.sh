# shellcheck shell=sh
# $1 home. Root can log in: what a first start has written is the server's data from now on.
rm -f "$1/.dagengine-first-start" && echo "done=yes"
