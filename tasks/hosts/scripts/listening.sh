# shellcheck shell=sh
# Listeners on a TCP port, from the kernel's tables.
# shellcheck disable=SC2154  # home_id program
. ./bounded.sh

# Print "uid inode" of each socket that listens on port $1. The tables begin with listening sockets
# (0A; before Linux 4.4 mixed with half-open connections, 03). The rest can have tens of thousands
# of lines and is not read.
list_listeners() {
    hex=$(printf '%04X' "$1")
    for table in /proc/net/tcp /proc/net/tcp6; do
        sed -n -e 1d -e '/^ *[0-9]*: [0-9A-F:]* [0-9A-F:]* 0[A3] /!q' \
            -e "s/^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:0000 0A [^ ]* [^ ]* [^ ]*  *\([0-9]*\)  *[^ ]*  *\([0-9]*\) .*/\1 \2/p" \
            "$table" 2>/dev/null
    done
}

# Print the pid of a process that has socket inode $1 open; nothing if it is not visible to this
# login.
find_holder() {
    # shellcheck disable=SC2012  # names below /proc
    ls -ln /proc/[0-9]*/fd 2>/dev/null | sed -n -e '/^\/proc\/[0-9]*\/fd:$/h' \
        -e "/ -> socket:\[$1\]\$/{g;s/[^0-9]//g;p;q;}"
}

# For each socket that listens on port $1, print `listener=PORT UID PID NAME`; PID is 0 if it is not
# visible. `in_home=PID` follows if the process works in $home. Call locate_home first.
print_listeners() {
    list_listeners "$1" | sort -u | while read -r uid_of inode; do
        holder=$(find_holder "$inode") name=''
        place_id=''
        if [ -n "$holder" ]; then
            name=$(tr '\n' '?' 2>/dev/null <"/proc/$holder/comm")
            # A server that was started through a link has the name of the link.
            path_of=$(readlink "/proc/$holder/exe" 2>/dev/null) path_of=${path_of% (deleted)}
            case ${path_of##*/} in seekdb | observer | "$program") name=${path_of##*/} ;; esac
            mounts=''
            place_id=$(bounded 2 stat -L -c '%d:%i' "/proc/$holder/cwd")
            mounts=/proc/self/mounts
        fi
        printf 'listener=%s %s %s %s\n' "$1" "$uid_of" "${holder:-0}" "${name%\?}"
        [ -z "$place_id" ] || [ "$place_id" != "$home_id" ] || echo "in_home=$holder"
    done
}
