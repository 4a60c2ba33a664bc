# shellcheck shell=sh
# Facts about the files that earlier starts left in a home; the controller interprets them.
# shellcheck disable=SC2154  # home program data redo

# Print the first three paths below directory $1 that are not directories; links are followed. An
# error of find counts as a path, because an unreadable directory is not known to be empty. The
# exception is lost+found of a new file system: mkfs makes it so that only root can use it.
first_files() {
    find -L "$1" -mindepth 1 \
        -type d -name lost+found -user 0 -perm 0700 ! -exec test -r {} \; -prune -o \
        ! -type d -print 2>&1 | head -n 3
}

# Print the first path below directory $1 that is not a directory and is not newer than the marker.
first_older_file() {
    find "$1" -type d -name lost+found -user 0 -perm 0700 ! -exec test -r {} \; -prune -o \
        ! -type d ! -newer "$marker_file" -print 2>&1 | head -n 1
}

# Whether the log shows the last step of a boot after the offset in the marker. Arguments: inode and
# size of the log before that start. A log with another inode counts if it is newer than the marker.
has_completed_boot() {
    for log in "$home/log/$program.log"*; do
        [ -f "$log" ] || continue
        behind=1
        if [ "$(stat -c %i "$log")" = "$1" ]; then
            behind=$(($2 + 1))
        elif ! [ "$log" -nt "$marker_file" ]; then
            continue
        fi
        tail -c "+$behind" "$log" | grep -q -a -F 'server_start 14/14] observer start success' && return 0
    done
    return 1
}

# Whether directory $1 cannot be moved: it is a symbolic link or a mount point, or one is mounted
# below it. The table escapes white space and backslashes in octal.
is_fixed() {
    [ ! -h "$1" ] || return 0
    [ -d "$1" ] || return 1
    real=$(readlink -f "$1") || return 0
    while read -r _ _ _ _ place _; do
        case $place in *\\*) place=$(printf %b "$place") ;; esac
        case $place/ in "$real"/*) return 0 ;; esac
    done </proc/self/mountinfo || return 0
    return 1
}

print_directory() {
    [ -n "$2" ] && [ -e "$2" ] || return 0
    printf 'directory=%s %s %s\n' "$1" "$(stat -L -c '%d:%i' "$2")" "$(readlink -n -f "$2" | tr '\n' '?')"
    first_files "$2" | while read -r file; do printf 'file=%s %s\n' "$1" "$file"; done
}

# Print `file=PLACE PATH`, `directory=PLACE DEVICE:INODE PATH`, and a line per known file.
print_home_files() {
    print_directory etc "$home/etc"
    print_directory store "$home/store"
    print_directory data "$data"
    print_directory redo "$redo"
    for part in etc store; do
        if is_fixed "$home/$part"; then echo "link=$part"; fi
    done
    for part in etc/observer.config.bin etc/observer.conf.bin etc2/observer.conf.bin etc3/observer.conf.bin \
        etc2/observer.config.bin etc3/observer.config.bin etc/seekdb.config.bin etc/meta.db \
        store/sstable/meta.db; do
        [ ! -e "$home/$part" ] || echo "configuration=$part"
    done
    if [ -e "$home/run/telemetry.json" ]; then echo "telemetry=yes"; fi
    marker_file=$home/.dagengine-first-start
    if [ -f "$marker_file" ] && read -r dag inode size _ <"$marker_file"; then
        printf 'first_start=%s\n' "$dag"
        case $inode$size in *[!0-9]* | '') inode=0 size=0 ;; esac
        # A home with telemetry cannot be a leftover, so its log is not read.
        [ ! -e "$home/run/telemetry.json" ] && has_completed_boot "$inode" "$size" && echo "boot_completed=yes"
        for part in etc store; do
            [ ! -e "$home/$part" ] || first_older_file "$home/$part" | sed 's/^/older_file=/'
        done
    fi
    return 0
}
