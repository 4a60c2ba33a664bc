# shellcheck shell=sh
# $1 pid, $2 its start time, $3 SQL port in hex. The kernel's tables begin with listening sockets
# (0A; before Linux 4.4 mixed with half-open connections, 03). The rest can have tens of thousands
# of lines and is not read.
. ./lives.sh

port=$3
for table in /proc/net/tcp /proc/net/tcp6; do
    found=$(sed -n -e 1d -e '/^ *[0-9]*: [0-9A-F:]* [0-9A-F:]* 0[A3] /!q' \
        -e "/^ *[0-9]*: [0-9A-F]*:$port [0-9A-F]*:0000 0A /{p;q;}" "$table" 2>/dev/null)
    if [ -n "$found" ]; then echo "listening=yes"; break; fi
done
lives "$1" "$2" && echo "alive=yes"
echo "end=yes"
