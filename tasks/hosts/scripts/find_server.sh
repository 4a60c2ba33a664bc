# shellcheck shell=sh
# find_server: identify the server of $home, that is, the process that runs $program (such as seekdb
# or observer) with the home as its working directory, compared by device and inode. A pid, a pid file
# or a command line identifies nothing, but it can raise doubts, which block a start and a stop:
#   unexamined  a server program that could not be examined (permission, dead mount, full disk)
#   base        its base directory is this home, but its working directory is not
#   pid_file    it has the pid file of this home open, but its working directory is not this home
#   flavour     another server program has this home as its working directory
#   owner       a server program of a user who does not own the home works in it
#   program     a process with another program name has this home as its working directory and as its
#               base directory
# Call locate_home first. Sets pid, started, owner, by, and doubts (lines for the output).
# shellcheck disable=SC2154  # home program
. ./bounded.sh

line_end='
'

# Set home_id (device:inode, empty if the home does not exist), home_owner, home_mode and file_owners.
# Fails if the home does not answer or cannot be examined.
locate_home() {
    home_id='' home_owner='' home_mode='' file_owners=' ' real_program='' real_home=''
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

# Set candidates: pids of the processes that may be the server, by the name of the process or of its
# executable, or by a working directory whose path ends in the same component as the home. Reading
# links below /proc does not access the file systems of their targets.
find_candidates() {
    candidates=''
    # shellcheck disable=SC2012,SC2046  # names below /proc
    for path in $(grep -l -s -x -F -e seekdb -e observer -e "$program" /proc/[0-9]*/comm) $(
        ls -ln /proc/[0-9]*/exe /proc/[0-9]*/cwd 2>/dev/null |
            while read -r _ _ _ _ _ _ _ _ link; do
                case $link in
                /proc/*/exe' -> '*/seekdb | /proc/*/exe' -> '*'/seekdb (deleted)') ;;
                /proc/*/exe' -> '*/observer | /proc/*/exe' -> '*'/observer (deleted)') ;;
                /proc/*/exe' -> '*"/$program" | /proc/*/exe' -> '*"/$program (deleted)") ;;
                /proc/*/cwd' -> '*"/${real_home##*/}") ;;
                *) continue ;;
                esac
                printf '%s\n' "${link%% *}"
            done
    ); do
        path=${path#/proc/}
        case " $candidates " in *" ${path%/*} "*) ;; *) candidates="$candidates ${path%/*}" ;; esac
    done
}

# Print device:inode of the working directory of a process, then its path.
print_directory_of() {
    stat -L -c '%d:%i' "/proc/$1/cwd" 2>/dev/null || echo
    readlink -n "/proc/$1/cwd" 2>/dev/null | tr '\n' '?'
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

doubt() {
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

examine() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    name=${stat#*\(} name=${name%)*} candidate=$1
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    [ "$1" = Z ] && return 0
    start=${20}
    uid_of=$(stat -c %u "/proc/$candidate" 2>/dev/null) || return 0
    # Always bounded: a mount that was detached with `umount -l` is in no table.
    mounts='' line='' examined=124
    if [ "$hung" -lt 3 ]; then # after three hung processes, do not spend 2 s on each further one
        line=$(bounded 2 print_directory_of "$candidate")
        examined=$?
        [ "$examined" -ne 124 ] || hung=$((hung + 1))
    fi
    mounts=/proc/self/mounts
    id=${line%%"$line_end"*} cwd=${line#*"$line_end"}
    if [ -z "$id" ]; then
        [ -e "/proc/$candidate/stat" ] || return 0
        # Permission denied: a user who cannot write to the home cannot run its server.
        if [ "$examined" -ne 124 ]; then
            may_write "$uid_of" || return 0
            # A process loses its working directory just before it becomes a zombie.
            sleep 0.2
            { read -r stat <"/proc/$candidate/stat"; } 2>/dev/null || return 0
            case ${stat##*) } in Z*) return 0 ;; esac
        fi
        doubt_unexamined "$examined"
    elif [ "$id" = "$home_id" ]; then
        case $(name_program) in
        "$program") ;;
        seekdb | observer) doubt flavour "$candidate"; return 0 ;;
        *) examine_other; return 0 ;;
        esac
        if ! may_own "$uid_of"; then doubt owner "$candidate"; return 0; fi
        [ -z "$pid" ] || return 0
        pid=$candidate started=$start owner=$uid_of
        by=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n '/^DAGENGINE_START=/{s///;p;q;}')
    elif [ -n "$(name_program)" ]; then
        examine_base
    fi
}

# Print the server program that the candidate runs: $program, another known one, or nothing.
name_program() {
    executable=$(readlink "/proc/$candidate/exe" 2>/dev/null)
    executable=${executable% (deleted)}
    for known in "$name" "${executable##*/}"; do
        case $known in seekdb | observer | "$program") echo "$known"; return 0 ;; esac
    done
    [ -n "$real_program" ] || real_program=$(bounded 2 readlink -f "$home/bin/$program")
    [ -z "$executable" ] || [ "$executable" != "$real_program" ] || echo "$program"
}

# A process of another program works in this home: does its command line name the home as well?
examine_other() {
    base=$(read_base "$candidate")
    case $base in '') return 0 ;; /*) seen=$base ;; *) seen=/proc/$candidate/cwd/$base ;; esac
    [ "$(bounded 2 stat -L -c '%d:%i' "$seen")" != "$home_id" ] || doubt program "$candidate" "$base"
}

# Check whether a server program with another working directory is related to this home.
examine_base() {
    base=$(read_base "$candidate")
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

find_server() {
    pid='' started='' owner='' by='' doubts='' filed='' hung=0
    find_candidates
    for candidate in $candidates; do examine "$candidate"; done
    [ -n "$pid" ]
}

# Whether a path is not the home. A link that was changed does no harm: the server resolves its base
# directory when it starts.
is_elsewhere() {
    [ ! -h "$1" ] && [ "$(stat -L -c '%d:%i' "$1" 2>/dev/null)" != "$home_id" ]
}

# Print the base directory of the server if it is absolute and is not the home: the home was moved
# while the server ran.
tell_former_home() {
    base=$(read_base "$pid")
    case $base in
    /*) if bounded 2 is_elsewhere "$base"; then printf 'former_home=%s\n' "$base"; fi ;;
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
