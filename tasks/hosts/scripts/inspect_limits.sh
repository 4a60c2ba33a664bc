# shellcheck shell=sh
# Limits of this login, asynchronous I/O and memory.
sed -n -e 's/^Max open files  *\([^ ]*\) .*/open_files=\1/p' \
    -e 's/^Max processes  *\([^ ]*\) .*/processes=\1/p' \
    -e 's/^Max core file size  *\([^ ]*\) .*/core_bytes=\1/p' /proc/self/limits
{ read -r aio </proc/sys/fs/aio-max-nr && echo "aio_max=$aio"; } 2>/dev/null
{ read -r aio </proc/sys/fs/aio-nr && echo "aio_used=$aio"; } 2>/dev/null
sed -n -e 's/^MemTotal: *\([0-9]*\) kB/total_kib=\1/p' \
    -e 's/^MemAvailable: *\([0-9]*\) kB/available_kib=\1/p' /proc/meminfo
