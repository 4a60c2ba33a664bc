# shellcheck shell=sh
# $1 home, $2 program (seekdb or observer), $3 SQL port, $4 "port" to skip the unix socket, $5
# pid of the server, if it is known; it is identified again. Facts
# that show whether only the server's user can have created its unix socket; otherwise, whether the
# server itself listens on the port.
. ./find_server.sh
. ./listening.sh
home=$1 program=$2 port=$3 known=$5
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
echo "uid=$(id -u)"
locate_home || { echo "unanswered=$home"; echo "end=yes"; exit 0; }
find_known "$known"
tell_server
print_socket_file() {
    [ ! -h "$home/run" ] && [ -S "$home/run/sql.sock" ] && stat -L -c 'directory=%u %a' "$home" "$home/run" && echo "socket_file=yes"
}
print_port() {
    # shellcheck disable=SC2012  # names below /proc
    open=$([ -z "$pid" ] || ls -ln "/proc/$pid/fd" 2>/dev/null)
    case $open in *' -> '*) echo "descriptors=visible" ;; esac
    is_foreign=''
    for socket in $(list_listeners "$port" | sort -u | tr ' ' ':'); do
        case $open in
        *"socket:[${socket#*:}]"*) echo "socket=${socket%:*} held" ;;
        *) echo "socket=${socket%:*} other"; is_foreign=yes ;;
        esac
    done
    [ -z "$is_foreign" ] || print_listeners "$port"
}
if [ -z "$pid" ] || [ "$4" = port ] || ! bounded 2 print_socket_file; then print_port; fi
echo "end=yes"
