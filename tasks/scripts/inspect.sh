# shellcheck shell=sh
# $1 home, $2 program, $3 evidence of a completed first start, $4 data directory, $5 redo directory,
# $6 directories with links to systemd units, one per line, $7 "version" to run the program for its
# version, then the ports that must be free.
. ./find_server.sh

home=$1 binary=$2 before=$3 data=$4 redo=$5 units=$6 more=$7
shift 7
ports=$*
echo "now_ms=$(date +%s%3N)"
said=$(id)
uid=${said#uid=} uid=${uid%%[!0-9]*}
user=${said#*\(} user=${user%%\)*}
echo "uid=$uid"; echo "user=$user"
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
if [ -d "$home" ]; then
    echo "home=directory"; echo "home_owner=$(stat -L -c %u "$home")"
    [ -w "$home" ] && echo "home_writable=yes"
elif [ -e "$home" ]; then echo "home=other"
fi
[ -e "$binary" ] && echo "binary=present"
[ -x "$binary" ] && echo "binary_executable=yes"
[ -e "$before" ] && echo "initialised=yes"
command -v flock >/dev/null && command -v setsid >/dev/null && echo "tools=yes"
. ./inspect_places.sh
. ./inspect_program.sh
. ./inspect_limits.sh
. ./inspect_managers.sh
. ./inspect_ports.sh

if [ "$more" = version ]; then
. ./inspect_version.sh

fi
echo "end=yes"
