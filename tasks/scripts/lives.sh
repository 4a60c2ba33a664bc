
lives() {
    wanted=$2
    { read -r stat </proc/$1/stat; } 2>/dev/null || return 1
    set -- ${stat##*) }
    [ "${20}" = "$wanted" ] && { [ "$1" != Z ] || [ "${18}" -gt 1 ]; }
}
