# shellcheck shell=sh
# Libraries that the program lacks. ldd does not run it. The libraries of a home are in lib/. Behind a
# link the program searches beside itself too, which ldd does only for the real path.
# shellcheck disable=SC2154  # home binary
if [ -x "$binary" ]; then
    stat -L -c 'program_bytes=%s' "$binary"
    LD_LIBRARY_PATH="$home/lib" timeout 5 ldd "$(readlink -f "$binary")" 2>/dev/null </dev/null |
        sed -n 's/^[[:space:]]*\([^[:space:]]*\) => not found.*/missing=\1/p'
fi
