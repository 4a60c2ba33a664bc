# shellcheck shell=sh
# read_stat PID: set stat to the line of a process in proc(5). The name in it may contain line ends,
# which become spaces. Fails if the process does not exist.
read_stat() {
    stat=''
    { while IFS= read -r stat_part; do stat="$stat$stat_part "; done <"/proc/$1/stat"; } 2>/dev/null
    [ -n "$stat" ]
}
