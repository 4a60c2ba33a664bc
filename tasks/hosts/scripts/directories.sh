# shellcheck shell=sh
# $1 home, then pairs: place (data or redo) and a directory, relative to the home or absolute.
. ./bounded.sh
. ./home_files.sh
home=$1 program=''
shift
print_all() {
    while [ $# -gt 1 ]; do
        case $2 in
        /*) print_directory "$1" "$2" ;;
        *) print_directory "$1" "$home/$2" ;;
        esac
        shift 2
    done
}
bounded 5 print_all "$@" && echo "end=yes"
