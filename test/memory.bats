#!/usr/bin/env bats
# Memory: the linker sets aside all of it, and an idle user needs little.

bats_require_minimum_version 1.7.0
load helper

# Code from a sanitizer or from gcov allocates memory, so these tests would fail.
skip_if_instrumented() {
    command -v nm >/dev/null || skip "there is no nm"
    if nm "$ROOT/chat" | grep -qE '__(asan|msan|tsan|ubsan|gcov)_'; then
        skip "what the compiler put in needs memory"
    fi
}

# The functions that the program may call.  All are in POSIX.1-2008 (setitimer: XSI
# option).  Before you add one, look it up there, and check that it allocates no memory.
POSIX='_exit accept bind clock_gettime close dup exit fcntl fflush fprintf freeaddrinfo gai_strerror
    getaddrinfo getnameinfo getopt getrlimit getsockname getsockopt inet_pton
    listen memcmp memcpy memmove memset nanosleep open optarg optind pipe poll read setitimer setrlimit setsockopt shutdown
    sigaction sigaddset sigemptyset sigprocmask snprintf socket sprintf stderr stdout strchr strcmp strcspn strerror strlen strncmp
    strstr strtol time vfprintf vsnprintf write'
# Compilers put these in place of functions above, if that makes shorter code.
POSIX+=' bcmp fputc fputs fwrite memchr putchar puts stpcpy strcpy'
# What starts a program on macOS and the BSDs.
POSIX+=' dyld_stub_binder _csu_finish _libc_init abort atexit'

@test "the program calls only POSIX functions, and none that allocates memory" {
    skip_if_instrumented
    local name names others=
    names=$(nm -u "$ROOT/chat" 2>&1 | sed 's/.* //; s/[@$].*//')
    [[ $names == *poll* ]] || skip "nm lists no functions: linked statically, or stripped"
    for name in $names; do
        case $name in
            __* | _[A-Z]*) continue ;;          # of the compiler and its library: C99 7.1.3
        esac
        grep -qwF -e "$name" -e "${name#_}" <<<"$POSIX" || others+=" $name"
    done
    echo "not in the list:$others"
    [ -z "$others" ]
}

@test "300 idle users take less than 1 KiB of memory each" {
    skip_if_instrumented
    start_chat
    # Prints how many KiB the server has.  busybox's ps knows no -p.
    export RESIDENT='ps -o rss= -p "$CHAT_PID" || sed -n "s/^VmRSS:\(.*\) kB/\1/p" "/proc/$CHAT_PID/status"'
    eval "$RESIDENT" 2>/dev/null | grep -q '[0-9]' || skip "this system does not tell how much memory a process has"
    play <<END
$(printf 'A%d join\nA%d say A%d 20\nA%d expect said A%d 20\n' {1..20}{,,,,})
run eval "\$RESIDENT" >"\$BATS_TEST_TMPDIR/before"
$(printf 'U%d join\nU%d say U%d 20\nU%d expect said U%d 20\n' {1..300}{,,,,})
run eval "\$RESIDENT" >"\$BATS_TEST_TMPDIR/after"
END
    local kibibytes=$(($(<"$BATS_TEST_TMPDIR/after") - $(<"$BATS_TEST_TMPDIR/before")))
    echo "$kibibytes KiB"
    [ "$kibibytes" -lt 300 ]
}
