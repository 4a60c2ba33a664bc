# shellcheck shell=sh
# The program and its missing libraries. ldd does not run it. The libraries of a home are in lib/.
# If the program is a link, it also searches its own directory, which ldd reproduces only for the
# real path.
# shellcheck disable=SC2154  # home binary
print_program() {
    [ -e "$binary" ] && echo "binary=present"
    [ -x "$binary" ] || return 0
    echo "binary_executable=yes"
    stat -L -c 'program_bytes=%s' "$binary"
    LD_LIBRARY_PATH="$home/lib" timeout 5 ldd "$(readlink -f "$binary")" 2>/dev/null </dev/null |
        sed -n 's/^[[:space:]]*\([^[:space:]]*\) => not found.*/missing=\1/p'
}

# The version as the program prints it; takes half a second.
print_version() {
    LD_LIBRARY_PATH="$home/lib" timeout 10 "$binary" -V 2>&1 </dev/null |
        sed -n 's/.*(OceanBase[^)]* \([0-9][0-9.]*\)).*/version=\1/p' | head -n 1
}
