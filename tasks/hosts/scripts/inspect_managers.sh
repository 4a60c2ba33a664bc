# shellcheck shell=sh
# Other managers of this home: an OBShell, or a unit that systemd starts at boot.
# shellcheck disable=SC2154  # home units
print_managers() {
    # shellcheck disable=SC2013  # paths without white space
    for dir in $(grep -l -s -x obshell /proc/[0-9]*/comm); do
        dir=${dir%/comm}
        first=$(tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | head -n 1)
        if [ "$dir/exe" -ef "$home/bin/obshell" ] || [ "$first" -ef "$home/bin/obshell" ] ||
            [ "$dir/cwd" -ef "$home" ]; then echo "obshell=${dir#/proc/}"; fi
    done
    printf '%s\n' "$units" "$HOME/.config/systemd/user" | {
        set --
        while read -r place; do
            for unit in "$place"/*.wants/*.service; do [ -e "$unit" ] && set -- "$@" "$unit"; done
        done
        [ $# -eq 0 ] || grep -H -s -F -e "$home" "$@"
    } | while read -r line; do
        unit=${line%%.service:*}
        case "${line#*.service:} " in
        *[=\ \"\']"$home"[/\ \"\']*) echo "unit=${unit##*/}.service" ;;
        esac
    done
    sed 's/^/own_group=/' /proc/self/cgroup 2>/dev/null
    return 0
}
