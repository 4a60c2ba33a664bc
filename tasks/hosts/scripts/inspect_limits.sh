# shellcheck shell=sh
# Limits of this login, asynchronous I/O and memory.
sed -n -e 's/^Max open files  *\([^ ]*\) .*/open_files=\1/p' \
    -e 's/^Max processes  *\([^ ]*\) .*/processes=\1/p' \
    -e 's/^Max core file size  *\([^ ]*\) .*/core_bytes=\1/p' /proc/self/limits
# Not by `read`: dash reads single bytes, and these files return only the first byte.
aio=$(cat /proc/sys/fs/aio-max-nr 2>/dev/null) && echo "aio_max=$aio"
aio=$(cat /proc/sys/fs/aio-nr 2>/dev/null) && echo "aio_used=$aio"
sed -n -e 's/^MemTotal: *\([0-9]*\) kB/total_kib=\1/p' \
    -e 's/^MemAvailable: *\([0-9]*\) kB/available_kib=\1/p' /proc/meminfo
