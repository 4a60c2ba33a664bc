# shellcheck shell=sh
# The version as the program prints it; takes half a second.
# shellcheck disable=SC2154  # home binary
LD_LIBRARY_PATH="$home/lib" timeout 10 "$binary" -V 2>&1 </dev/null |
    sed -n 's/.*(OceanBase[^)]* \([0-9][0-9.]*\)).*/version=\1/p' | head -n 1
