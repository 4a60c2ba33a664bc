
if [ -x "$binary" ]; then
    stat -L -c 'program_bytes=%s' "$binary"
    LD_LIBRARY_PATH="$home/lib" timeout 5 ldd "$(readlink -f "$binary")" 2>/dev/null </dev/null |
        sed -n 's/^[[:space:]]*\([^[:space:]]*\) => not found.*/missing=\1/p'
fi
