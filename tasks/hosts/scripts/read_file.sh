# shellcheck shell=sh
# $1 file, $2 offset and $3 length in bytes. Print a part of the file, in base64.
. ./bounded.sh
print_part() {
    [ -f "$1" ] && stat -L -c 'size=%s' "$1" || return 0
    tail -c "+$(($2 + 1))" "$1" | head -c "$3" | base64 -w 0 | sed 's/^/data=/'
    echo
}
bounded 10 print_part "$1" "$2" "$3" && echo "end=yes"
