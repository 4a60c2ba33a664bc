# shellcheck shell=sh
# $1 home, $2 program (seekdb or observer), $3 path of the program, $4 data directory, $5 redo directory
# (both as in the cluster file, may be empty), $6 directories with links to systemd units, one per line,
# $7 "version" to run the program for its version, $8 seconds for all examinations that may hang, then
# the ports that must be free.
. ./find_server.sh
. ./connections.sh
. ./home_files.sh
. ./fence.sh
. ./inspect_places.sh
. ./inspect_program.sh
. ./inspect_managers.sh
home=$1 program=$2 binary=$3 data=$4 redo=$5 units=$6 more=$7 limit=$8
shift 8
ports=$*
read -r now _ </proc/uptime
deadline=$((${now%%.*} + limit))

# within SECONDS COMMAND...: `bounded`, with fewer seconds if the deadline is near, but at least one.
within() {
    read -r now _ </proc/uptime
    left=$((deadline - ${now%%.*})) most=$1
    shift
    [ "$left" -ge "$most" ] || most=$left
    [ "$most" -ge 1 ] || most=1
    bounded "$most" "$@"
}

echo "now_ms=$(date +%s%3N)"
identity=$(id)
uid=${identity#uid=} uid=${uid%%[!0-9]*}
user=${identity#*\(} user=${user%%\)*}
echo "uid=$uid"
echo "user=$user"
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
if open_spool; then exec 7>&-; else echo "temporary=none"; fi
locate_home || { echo "unanswered=$home"; echo "end=yes"; exit 0; }
if [ -z "$home_id" ]; then :
elif [ -d "$home" ]; then
    echo "home=directory"
    echo "home_owner=$home_owner"
    [ -w "$home" ] && echo "home_writable=yes"
    within 5 print_home_files || echo "unanswered=a file below $home/etc, $home/store or its data"
    within 5 print_fence || echo "unanswered=$home/.dagengine-fence"
else echo "home=other"
fi
command -v flock >/dev/null && command -v setsid >/dev/null && echo "tools=yes"
within 5 print_places || echo "unanswered=a directory of $home, or its disk"
within 8 print_program || { echo "unanswered=$binary"; more=''; }
. ./inspect_limits.sh
within 5 print_managers || echo "unanswered=a systemd unit or an OBShell of the host"
. ./inspect_ports.sh
[ "$more" != version ] || within 12 print_version || echo "unanswered=$binary"
echo "end=yes"
