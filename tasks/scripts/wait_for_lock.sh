
[ -d "$1" ] || { echo "quiet=yes"; exit 0; }
exec 9<"$1" && flock -w 45 9 && echo "quiet=yes"
