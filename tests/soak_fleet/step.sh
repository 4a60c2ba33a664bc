# shellcheck shell=sh
# $1 home, $2 line for the oracle, $3 `act` or `probe`, $4 fencing token (empty: no fence), $5 directory
# of the points. Appends the line, which is the effect of a step; a probe does so only if it is missing.
home=$1
exec 9<"$home" || exit 70
flock -w 60 9 || exit 71
take_fence "$4" || exit 72
if [ "$3" = probe ] && grep -qxF "$2" "$home/oracle"; then exit 0; fi
echo "$2" >>"$home/oracle"
armed="$5/command running"
if mv "$armed.armed" "$armed.taken" 2>/dev/null; then
    echo "$6" >"$armed.taken"
    mv "$armed.taken" "$armed.reached"
    read -r _ <>"$5/go"
fi
exit 0
