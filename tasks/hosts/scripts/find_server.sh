# shellcheck shell=sh
# find_server: identify the server of $home, that is, the process that runs $program (such as seekdb
# or observer, by its executable) with the home as its working directory, compared by device and inode.
# A pid, a pid file, a command line or the name of a process identifies nothing, but it can raise
# doubts, which block a start and a stop:
#   unexamined  a server program that could not be examined (permission, dead mount, full disk)
#   base        its base directory is this home, but its working directory is not
#   pid_file    it has the pid file of this home open, but its working directory is not this home
#   flavour     another server program has this home as its working directory
#   owner       a server program of a user who does not own the home works in it
#   program     a process of another program has this home as its working directory and as its base
#               directory
#   name        a process of another program, such as an interpreter, has the name of a server, and
#               this home as its working directory
#   killed      a process in this home was sent SIGKILL and does not end, such as a hung launch
# Call locate_home first. Sets pid, started, owner, by, and doubts (lines for the output).
# shellcheck disable=SC2154  # home program
. ./bounded.sh
. ./read_stat.sh

line_end='
'

# Set home_id (device:inode, empty if the home does not exist), home_owner, home_mode and file_owners.
# Fails if the home does not answer or cannot be examined.
locate_home() {
    home_id='' home_owner='' home_mode='' file_owners=' ' real_home=''
    located=$(bounded 2 print_home) || return 1
    case $located in
    [0-9]*:[0-9]*) ;;
    *'No such file or directory' | *'Not a directory') return 0 ;;
    *) return 1 ;;
    esac
    real_home=$(bounded 2 readlink -f "$home")
    # shellcheck disable=SC2086  # fields
    set -- $located
    home_id=$1 home_owner=$2 home_mode=$3
    shift 3
    file_owners=" $* "
}

# Print device:inode, owner and mode of the home, then the owners of its directories; else the error.
print_home() {
    LC_ALL=C stat -L -c '%d:%i %u %a' "$home" 2>&1
    stat -L -c '%u' "$home/etc" "$home/log" "$home/run" "$home/store" 2>/dev/null | tr '\n' ' '
}

# Set candidates: pids of the processes that may be the server, by the name of the process (the only
# one that every user can read) or of its executable, or by a working directory whose path ends in the same component as the home. Reading
# links below /proc does not access the file systems of their targets.
find_candidates() {
    candidates='' last=${real_home##*/}
    [ -n "$home_id" ] || last=// # no path ends like this
    # shellcheck disable=SC2010,SC2012,SC2046  # names below /proc
    for path in $(grep -l -s -x -F -e seekdb -e observer -e "$program" /proc/[0-9]*/comm) $(
        # `read` reads single bytes: grep leaves few lines to it.
        ls -ln /proc/[0-9]*/exe /proc/[0-9]*/cwd 2>/dev/null |
            grep -F -e /seekdb -e /observer -e "/$program" -e "/$last" |
            while read -r _ _ _ _ _ _ _ _ link; do
                case $link in
                /proc/*/exe' -> '*/seekdb | /proc/*/exe' -> '*'/seekdb (deleted)') ;;
                /proc/*/exe' -> '*/observer | /proc/*/exe' -> '*'/observer (deleted)') ;;
                /proc/*/exe' -> '*"/$program" | /proc/*/exe' -> '*"/$program (deleted)") ;;
                /proc/*/cwd' -> '*"/$last") ;;
                *) continue ;;
                esac
                printf '%s\n' "${link%% *}"
            done
    ); do
        path=${path#/proc/}
        case " $candidates " in *" ${path%/*} "*) ;; *) candidates="$candidates ${path%/*}" ;; esac
    done
}

# Print device:inode of the working directory of a process, then its base directory if the process has
# the name of a server ($2). Both may hang: a command line, if the process waits for a page.
print_process() {
    stat -L -c '%d:%i' "/proc/$1/cwd" 2>/dev/null || echo
    [ -z "$2" ] || read_base "$1"
}

# Print "own" if a process in the home with executable $2 runs the program of the home, or an empty
# line; then its base directory, and the DAG that started it.
print_process_in_home() {
    if [ "${2##*/}" != "$program" ] && is_program_of_home "$1" "$2"; then echo own; else echo; fi
    printf '%s\n' "$(read_base "$1")"
    tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | sed -n '/^DAGENGINE_START=/{s///;p;q;}'
}

# Whether a process with executable $2 runs the file behind bin/ of the home, or the file that the last
# server started there, which has left a link to it; bin/ may lead elsewhere since.
is_program_of_home() {
    [ -n "$2" ] && { [ "/proc/$1/exe" -ef "$home/bin/$program" ] ||
        [ "$(readlink "$home/run/$program" 2>/dev/null)" = "$2" ]; }
}

# Print the base directory in the command line of a process.
read_base() {
    tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" |
        sed -n -e '/^--base-dir$/{n;p;q;}' -e '/^--base-dir=/{s///;p;q;}'
}

# Print the pid file. A named pipe in its place would hang.
print_pid_file() {
    if [ -f "$home/run/$program.pid" ]; then head -n 1 "$home/run/$program.pid"; fi
}

# Whether a process has the pid file of this home open.
holds_pid_file() {
    file=$(stat -c '%d:%i' "$home/run/$program.pid") || return 1
    # shellcheck disable=SC2012  # names below /proc
    for open in $(ls -ln "/proc/$1/fd" | sed -n "s#.* \([0-9]*\) -> .*/$program\.pid\$#\1#p"); do
        [ "$(stat -L -c '%d:%i' "/proc/$1/fd/$open")" = "$file" ] && return 0
    done
    return 1
}

# Whether a process of another user could have written to this home.
may_write() {
    may_own "$1" && return 0
    case $home_mode in *[2367]? | *[2367]) return 0 ;; esac
    case $file_owners in *" $1 "*) return 0 ;; esac
    return 1
}

# Whether a server of this home may run as user $1: root, or the owner of the home, or of its files if
# no other user can make any.
may_own() {
    [ "$1" = 0 ] || [ "$1" = "$home_owner" ] && return 0
    case $home_mode in *[2367]? | *[2367]) return 1 ;; esac
    case $file_owners in *" $1 "*) return 0 ;; esac
    return 1
}

# doubt KIND PID [BASE]: the working directory is read without access to its file system.
doubt() {
    cwd=''
    [ "$1" = unexamined ] || cwd=$(readlink -n "/proc/$2/cwd" 2>/dev/null | tr '\n' '?')
    doubts="${doubts}doubt=$1 $2${line_end}doubt_cwd=$2 $cwd$line_end"
    [ -z "$3" ] || doubts="${doubts}doubt_base=$2 $3$line_end"
}

# doubt_unexamined STATUS: doubt the candidate, with its user and program, and why it could not be
# examined, by the status of `bounded`.
doubt_unexamined() {
    case $1 in 124) obstacle=hung ;; 125) obstacle=space ;; *) obstacle=denied ;; esac
    mounts='' # a directory service may hang as well
    user_of=$(bounded 2 stat -c %U "/proc/$candidate")
    mounts=/proc/self/mounts
    case $user_of in '' | UNKNOWN) user_of=$uid_of ;; esac
    doubt unexamined "$candidate"
    doubts="${doubts}doubt_obstacle=$candidate $obstacle${line_end}doubt_user=$candidate $user_of$line_end"
    doubts="${doubts}doubt_program=$candidate $name$line_end"
}

# Whether SIGKILL was sent to the candidate, which has not ended yet.
is_killed() {
    pending=$(sed -n 's/^S[a-z]*Pnd:.*\(.\)..$/\1/p' "/proc/$candidate/status" 2>/dev/null | tr -d '\n')
    case $pending in *[13579bdf]*) ;; *) return 1 ;; esac
    read_stat "$candidate" || return 1
    case ${stat##*) } in Z*) return 1 ;; esac
}

# Doubt the candidate, which was sent SIGKILL, unless it ends within a second.
examine_killed() {
    for _ in 1 2 3 4 5; do
        sleep 0.2
        is_killed || return 0
    done
    doubt killed "$candidate"
}

# Set line to the next line of facts.
take_line() {
    line=${facts%%"$line_end"*}
    case $facts in *"$line_end"*) facts=${facts#*"$line_end"} ;; *) facts='' ;; esac
}

# gather COMMAND...: set facts to its output and examined to its status. Always bounded: a mount that
# was detached with `umount -l` is in no table.
gather() {
    mounts=''
    facts=$(bounded 2 "$@")
    examined=$?
    mounts=/proc/self/mounts
}

# Print the working directories of processes, as device:inode, then their base directories.
print_processes() {
    for process in "$@"; do
        shift
        set -- "$@" "/proc/$process/cwd"
    done
    stat -L -c '%n %d:%i' "$@" 2>/dev/null
    for process in "$@"; do
        process=${process#/proc/} process=${process%/cwd}
        printf '%s %s\n' "/proc/$process/base" "$(read_base "$process")"
    done
}

# Set elsewhere to the facts of all candidates; empty if one of them hangs. They are examined together,
# since a host can have many servers and each bounded command costs several processes. If a process
# hangs, this takes a second, which must be left for the examination of each.
gather_elsewhere() {
    # shellcheck disable=SC2086  # words
    set -- $candidates
    elsewhere=''
    read_uptime
    [ $# -gt 1 ] && [ $((expiry - uptime)) -ge 5 ] || return 0
    mounts=''
    elsewhere=$line_end$(bounded 1 print_processes "$@") || elsewhere=''
    mounts=/proc/self/mounts
}

# Set id and base from `elsewhere`. Fails unless they show that the candidate works elsewhere: only
# facts read after the start time of a process may identify it as the server.
recall_elsewhere() {
    case $elsewhere in *"$line_end/proc/$candidate/cwd "*) ;; *) return 1 ;; esac
    id=${elsewhere#*"$line_end/proc/$candidate/cwd "} base=${elsewhere#*"$line_end/proc/$candidate/base "}
    id=${id%%"$line_end"*} base=${base%%"$line_end"*}
    [ -n "$id" ] && [ "$id" != "$home_id" ]
}

# Whether the candidate has the name of a server, or its executable has it.
is_named() {
    case $name in seekdb | observer | "$program") return 0 ;; esac
    path_of=$(readlink "/proc/$candidate/exe" 2>/dev/null) path_of=${path_of% (deleted)}
    case ${path_of##*/} in seekdb | observer | "$program") return 0 ;; esac
    return 1
}

examine() {
    read_stat "$1" || return 0
    name=${stat#*\(} name=${name%)*} candidate=$1
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    [ "$1" = Z ] && return 0
    start=${20}
    if recall_elsewhere; then
        ! is_named || examine_base
        return 0
    fi
    uid_of=$(stat -c %u "/proc/$candidate" 2>/dev/null) || return 0
    path_of=$(readlink "/proc/$candidate/exe" 2>/dev/null) path_of=${path_of% (deleted)} runs='' named=''
    case ${path_of##*/} in seekdb | observer | "$program") runs=${path_of##*/} named=yes ;; esac
    case $name in seekdb | observer | "$program") named=yes ;; esac
    gather print_process "$candidate" "$named"
    take_line; id=$line
    take_line; base=$line
    if [ -n "$id" ] && [ "$id" = "$home_id" ]; then
        examine_in_home
    elif [ "$examined" -eq 124 ]; then
        [ ! -e "/proc/$candidate/stat" ] || doubt_unexamined "$examined"
    elif [ -z "$id" ]; then
        examine_denied
    elif [ -n "$named" ]; then
        examine_base
    fi
}

# This login cannot see the candidate. A user who cannot write to the home cannot run its server.
examine_denied() {
    may_write "$uid_of" || return 0
    # A process loses its working directory and its executable just before it becomes a zombie.
    sleep 0.2
    read_stat "$candidate" || return 0
    case ${stat##*) } in Z*) return 0 ;; esac
    doubt_unexamined "$examined"
}

# The candidate works in this home: is it the server?
examine_in_home() {
    if is_killed; then examine_killed; return 0; fi
    [ "$examined" -eq 124 ] || gather print_process_in_home "$candidate" "$path_of"
    if [ "$examined" -ne 0 ]; then doubt_unexamined "$examined"; return 0; fi
    if [ -z "$path_of" ]; then examine_denied; return 0; fi
    take_line
    [ "$line" != own ] || runs=$program
    take_line; base=$line
    case $runs in
    "$program") ;;
    '') examine_other; return 0 ;;
    *) doubt flavour "$candidate"; return 0 ;;
    esac
    if ! may_own "$uid_of"; then doubt owner "$candidate"; return 0; fi
    [ -z "$pid" ] || return 0
    take_line
    pid=$candidate started=$start owner=$uid_of by=$line base_of=$base
}

# A process of another program works in this home: do its name or its command line suggest a server?
examine_other() {
    case $name in
    seekdb | observer | "$program")
        doubt name "$candidate"
        doubts="${doubts}doubt_program=$candidate $(printf '%s' "$path_of" | tr '\n' '?')$line_end"
        return 0
        ;;
    esac
    case $base in '') return 0 ;; /*) seen=$base ;; *) seen=/proc/$candidate/cwd/$base ;; esac
    [ "$(bounded 2 stat -L -c '%d:%i' "$seen")" != "$home_id" ] || doubt program "$candidate" "$base"
}

# Check whether a server program with another working directory is related to this home.
examine_base() {
    case $base in '' | /*) seen=$base ;; *) seen=/proc/$candidate/cwd/$base ;; esac
    if [ -n "$base" ]; then
        if [ "$base" = "$home" ]; then doubt base "$candidate" "$base"; return 0; fi
        id=$(bounded 2 stat -L -c '%d:%i' "$seen")
        if [ -n "$home_id" ] && [ "$id" = "$home_id" ]; then
            doubt base "$candidate" "$base"
            return 0
        fi
    fi
    [ -n "$filed" ] || filed=$(bounded 2 print_pid_file)
    if [ "$filed" = "$candidate" ] && bounded 2 holds_pid_file "$candidate"; then
        doubt pid_file "$candidate"
    fi
}

# After the time of three hung processes, no more time is spent on further ones.
find_server() {
    pid='' started='' owner='' by='' base_of='' doubts='' filed='' outer_expiry=$expiry
    expire_in 6
    find_candidates
    gather_elsewhere
    for candidate in $candidates; do examine "$candidate"; done
    expiry=$outer_expiry
    [ -n "$pid" ]
}

# find_known PID: as find_server, but examine only this process if it is the server. Its doubts about
# other processes are then not known.
find_known() {
    pid='' started='' owner='' by='' base_of='' doubts='' filed='' elsewhere='' outer_expiry=$expiry
    expire_in 6
    [ -z "$1" ] || examine "$1"
    expiry=$outer_expiry
    [ -n "$pid" ] && [ -z "$doubts" ] || find_server
}

# Whether a path is not the home. A link that was changed does no harm: the server resolves its base
# directory when it starts.
is_elsewhere() {
    [ ! -h "$1" ] && [ "$(stat -L -c '%d:%i' "$1" 2>/dev/null)" != "$home_id" ]
}

# Print the base directory of the server if it is absolute and is not the home: the home was moved
# while the server ran.
tell_former_home() {
    case $base_of in
    /*) if bounded 2 is_elsewhere "$base_of"; then printf 'former_home=%s\n' "$base_of"; fi ;;
    esac
}

tell_server() {
    if [ -n "$pid" ]; then
        echo "pid=$pid"
        echo "started=$started"
        echo "owner=$owner"
        printf 'by=%s\n' "$by"
        tell_former_home
    fi
    printf '%s' "$doubts"
}
