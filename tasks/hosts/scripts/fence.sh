# shellcheck shell=sh
# The fence of a home: a file with the newest fencing token that acted here. By it, a home rejects the
# commands of a controller that was frozen, of a restored store, and of another store. A token is
# `STORE_ID EPOCH LOCK_TOKEN CONTROLLER`; in the file, a version precedes and an instant follows it.
# shellcheck disable=SC2154  # home

# read_fence: set fence_state (none, recorded or damaged) and recorded, the token with its instant.
# Only the names and the first 300 bytes of a regular file are read.
read_fence() {
    fence_file=$home/.dagengine-fence fence_state=none recorded=''
    if [ -x "$home" ] && [ ! -e "$fence_file" ] && [ ! -h "$fence_file" ]; then return 0; fi
    fence_state=damaged
    [ -f "$fence_file" ] && [ ! -h "$fence_file" ] || return 0
    content=$({ head -c 300 "$fence_file" | tr '\0\n' '??'; } 2>/dev/null)
    case $content in '1 '*\?) content=${content#1 } content=${content%\?} ;; *) return 0 ;; esac
    case $content in *[!0-9A-Za-z.:_' '-]*) return 0 ;; esac
    # shellcheck disable=SC2086  # fields
    set -- $content
    [ $# -eq 5 ] && [ ${#1} -eq 32 ] && [ ${#4} -le 80 ] && is_number "$2" && is_number "$3" || return 0
    case $1 in *[!0-9a-f]*) return 0 ;; esac
    case $5 in [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z)
        recorded=$* fence_state=recorded
        ;;
    esac
}

# Whether $1 is a number that the shell can compare.
is_number() {
    case $1 in '' | *[!0-9]* | 0?*) return 1 ;; esac
    [ ${#1} -le 18 ]
}

print_fence() {
    read_fence
    case $fence_state in
    recorded) printf 'fence=%s\n' "$recorded" ;;
    damaged) echo "fence=damaged" ;;
    esac
}

# take_fence TOKEN: record the token unless a newer one or that of another store is recorded; then print
# the outcome and fail with status 1. The status is 2 if the token may act, but was not recorded. Call it
# under the lock on the home. An empty token always succeeds.
take_fence() {
    [ -n "$1" ] || return 0
    print_fence
    # shellcheck disable=SC2086  # fields
    set -- $1 $recorded # store, epoch, lock token, controller; the same of the recorded token
    case $fence_state in
    damaged) echo "outcome=foreign"; return 1 ;;
    recorded)
        if [ "$5" != "$1" ]; then echo "outcome=foreign"; return 1; fi
        if [ "$6" -gt "$2" ] || { [ "$6" -eq "$2" ] && [ "$7" -gt "$3" ]; }; then
            echo "outcome=stale"
            return 1
        fi
        ;;
    esac
    record_fence "$1 $2 $3 $4" || return 2
}

# record_fence TOKEN: replace the file as a whole. After an error, print it; the old file remains. The
# file system may hang here, with the lock held: a write that was given up could come after a newer one.
record_fence() {
    for draft in "$fence_file".??????; do # of a script that was killed
        if [ -f "$draft" ] && [ ! -h "$draft" ]; then rm -f "$draft"; fi
    done
    if complaint=$(write_fence "$1" 2>&1); then return 0; fi
    reason=$(printf '%s\n' "$complaint" | sed -n 's/^[a-z]*: .*: //p' | tail -n 1)
    printf 'fence_unrecorded=%s\n' "${reason:-unknown}"
    return 1
}

write_fence() {
    LC_ALL=C
    export LC_ALL
    draft=$(mktemp "$fence_file.XXXXXX") || return 1
    printf '1 %s %s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" | dd of="$draft" conv=fsync &&
        mv -f -T "$draft" "$fence_file" && return 0
    rm -f "$draft"
    return 1
}
