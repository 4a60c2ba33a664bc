
is_server() {
    base=$(tr '\0' '\n' <"$1/cmdline" 2>/dev/null |
        sed -n -e '/^--base-dir$/{n;p;q;}' -e 's/^--base-dir=//p')
    [ -n "$base" ] && [ "$base" -ef "$home" ]
}
