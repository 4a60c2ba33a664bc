# shellcheck shell=sh
# is_server DIR: whether the process with this directory below /proc is a seekdb of $home.
# shellcheck disable=SC2154  # home
is_server() {
    base=$(tr '\0' '\n' <"$1/cmdline" 2>/dev/null |
        sed -n -e '/^--base-dir$/{n;p;q;}' -e 's/^--base-dir=//p')
    [ -n "$base" ] && [ "$base" -ef "$home" ]
}
