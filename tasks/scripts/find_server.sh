# shellcheck shell=sh
# find_server: set pid, started, owner and by of the server process of $home. It has the home as its
# working directory, and the flavour's is_server accepts it. A zombie has no working directory: dead.
# shellcheck disable=SC2154  # home
find_server() {
    pid='' started='' owner='' by=''
    for dir in /proc/[0-9]*; do
        [ "$dir/cwd" -ef "$home" ] || continue
        is_server "$dir" || continue
        { read -r stat <"$dir/stat"; } 2>/dev/null || continue
        # shellcheck disable=SC2086  # fields
        set -- ${stat##*) }
        [ "$1" = Z ] && continue
        pid=${dir#/proc/} started=${20} owner=$(stat -c %u "$dir" 2>/dev/null)
        by=$(tr '\0' '\n' <"$dir/environ" 2>/dev/null | sed -n 's/^DAGENGINE_START=//p')
        return 0
    done
    return 1
}
tell_server() {
    if find_server; then
        echo "pid=$pid"; echo "started=$started"; echo "owner=$owner"; echo "by=$by"
    fi
}
