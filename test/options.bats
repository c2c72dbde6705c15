#!/usr/bin/env bats
# The command line, the compiled limits, and the addresses at which the server listens.

bats_require_minimum_version 1.7.0
load helper

# wrong MESSAGE OPTION...: the server refuses these options with MESSAGE and the usage
wrong() {
    local message=$1
    shift
    run -2 --separate-stderr within 10 "$ROOT/chat" "$@"
    [ -z "$output" ]
    contains "${stderr_lines[0]}" "$message" || { echo "$* got: ${stderr_lines[0]}"; return 1; }
    contains "$stderr" "usage: chat [-a directory|router]"
}

@test "a wrong option gets one line, the usage and exit status 2" {
    wrong "-a takes directory or router: tree" -a tree
    wrong "-p takes a port, 0 to 65535: http" -p http
    wrong "-p takes a port, 0 to 65535: 80a" -p 80a
    wrong "-p takes a port, 0 to 65535: 65536" -p 65536
    wrong "-p takes a port, 0 to 65535: -1" -p -1
    wrong "-p takes a port, 0 to 65535: it is empty" -p ''
    wrong "-k takes seconds, 0 to 1000000: soon" -k soon
    wrong "-k takes seconds, 0 to 1000000: -1" -k -1
    wrong "-k takes seconds, 0 to 1000000: 1000001" -k 1000001
    wrong "-k takes seconds, 0 to 1000000: 99999999999999999999" -k 99999999999999999999
    wrong "-l takes an address or a host name: it is empty" -l ''
    wrong "-l takes an address or a host name: it is empty" -l 127.0.0.1 -l ''
    wrong "options only: 8080" 8080
    wrong "x" -x
    wrong "p" -p
}

@test "-h fits on a screen and shows the compiled limits" {
    run -0 --separate-stderr within 10 "$ROOT/chat" -h
    [ -z "$stderr" ]
    [ "${#lines[@]}" -le 24 ]
    for line in "${lines[@]}"; do
        [ "${#line}" -lt 80 ]
    done
    for option in a l p o k q h V; do
        contains "$output" "-$option"
    done
    contains "$output" "Compiled for 1024 clients and messages of 65536 bytes"
}

@test "-V shows the version" {
    run -0 within 10 "$ROOT/chat" -V
    [[ $output == "chat "[0-9]* ]]
}

@test "make CLIENTS=... MESSAGE=... changes the limits" {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    make -C "$BATS_TEST_TMPDIR" CFLAGS=-O0 CLIENTS=3 MESSAGE=100
    run -0 "$BATS_TEST_TMPDIR/chat" -h
    contains "$output" "Compiled for 3 clients and messages of 100 bytes"
}

@test "the compiler refuses limits of 0 or over 1 GiB, and names them" {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    for limits in "CLIENTS=10000 MESSAGE=1000000" "CLIENTS=0" "MESSAGE=0"; do
        run ! make -C "$BATS_TEST_TMPDIR" CFLAGS=-O0 $limits
        contains "$output" CLIENTS MESSAGE
    done
}

@test "with -p 0, the server listens on the same port at 127.0.0.1 and, if the machine has it, at ::1" {
    local addresses=127.0.0.1
    ! (start_chat -l ::1 && stop_chat) >/dev/null 2>&1 || addresses+=' ::1'
    start_chat
    all_answer $addresses
}

# start_at ADDRESS [OPTION...]: skips the test if this machine lacks the address, which it
# says in the same words as for 192.0.2.1, an address that no machine has.
start_at() {
    local words nowhere
    start_chat -l "$@" && return
    await_end || true
    words=$(sed 's/.*:0: //' "$CHAT_LOG")
    nowhere=$(within 10 "$ROOT/chat" -l 192.0.2.1 -p 0 2>&1 | sed 's/.*:0: //')
    case $words in
        "$nowhere" | *family*) skip "this machine does not have the address $1" ;;
    esac
    return 1
}

# several ADDRESS...: makes a program `chat` that sees these addresses for several.test
several() {
    unshare -rm true 2>/dev/null || skip "a file system of one's own is not to be had here"
    start_at 127.0.0.2
    stop_chat
    printf '%s several.test\n' "$@" >"$BATS_TEST_TMPDIR/hosts"
    cat >"$BATS_TEST_TMPDIR/chat" <<END
#!/bin/sh
exec unshare -rm sh -c 'mount --bind "\$0" /etc/hosts && exec "\$@"' "$BATS_TEST_TMPDIR/hosts" "$ROOT/chat" "\$@"
END
    chmod +x "$BATS_TEST_TMPDIR/chat"
    ROOT=$BATS_TEST_TMPDIR
}

@test "for a name, the server listens at each of its addresses that this machine has, once" {
    several 127.0.0.2 127.0.0.3 127.0.0.2 192.0.2.1
    start_chat -l several.test
    play <<'END'
A connect 127.0.0.2
A join
B connect 127.0.0.3
B join
A text {"recipient_id":2,"message":"hi"}
B expect text {"sender_id":1,"message":"hi"}
C refused 127.0.0.1
END
}

@test "the server does not start if one of a name's addresses is in use" {
    several 127.0.0.2 127.0.0.3
    start_chat -l 127.0.0.3
    run -1 within 10 "$ROOT/chat" -l several.test -p "$PORT"
    [ "$output" = "chat: cannot listen on 127.0.0.3:$PORT: address already in use; try -p $((PORT + 1))" ]
}

@test "the server listens at sixteen addresses of a name at most" {
    local refused=0
    several 127.0.0.{2..18}
    start_chat -l several.test
    for address in 127.0.0.{2..18}; do
        (exec 4<>"/dev/tcp/$address/$PORT") 2>/dev/null || refused=$((refused + 1))
    done
    [ "$refused" -eq 1 ]
    stop_chat
    run -1 within 10 "$ROOT/chat" -l several.test -l 127.0.0.99
    [ "$output" = "chat: cannot listen on 127.0.0.99: the server listens on 16 addresses already" ]
}

@test "the server does not start if two addresses of a name exclude each other, even with -p 0" {
    several 127.0.0.2 0.0.0.0
    run -1 within 10 "$ROOT/chat" -l several.test -p 0
    [ ${#lines[@]} -eq 1 ]
    starts_with "$output" "chat: cannot listen on "
    contains "$output" " as well as on " ": one covers the other"
}

# excluding WORDS OPTION...: the server starts where a system allows that, or else says WORDS.
# Linux does not allow it.
excluding() {
    local words=$1
    shift
    if [ "$(uname)" != Linux ]; then
        start_chat "$@" 2>/dev/null && stop_chat && return
        await_end || true
    fi
    run -1 --separate-stderr within 10 "$ROOT/chat" "$@"
    [ -z "$output" ]
    [ "$(sed 's/:[0-9][0-9]* /:PORT /; s/:[0-9][0-9]*: /:PORT: /' <<<"$stderr")" = "$words" ] || {
        echo "$* got: $stderr"
        return 1
    }
}

@test "if one -l covers another one, the message says so, and says what to do" {
    local why="one covers the other; leave one out"
    excluding "chat: cannot listen on 127.0.0.1:PORT as well as on 0.0.0.0:PORT: $why" \
        -p 0 -l 0.0.0.0 -l 127.0.0.1
    excluding "chat: cannot listen on 0.0.0.0:PORT as well as on 127.0.0.1:PORT: $why" \
        -p 0 -l 127.0.0.1 -l 0.0.0.0
    unless_here ::1
    excluding "chat: cannot listen on [::1]:PORT as well as on [::]:PORT: $why" -p 0 -l :: -l ::1
    # A port that somebody else uses is another matter.
    start_chat -l 127.0.0.1
    run -1 within 10 "$ROOT/chat" -p "$PORT" -l ::1 -l 127.0.0.1
    [ "$output" = "chat: cannot listen on 127.0.0.1:$PORT: address already in use; try -p $((PORT + 1))" ]
}

@test "with -l, the server listens at that address only" {
    start_at 127.0.0.2
    play <<'END'
A refused 127.0.0.1
A connect 127.0.0.2
A join
A quiet
END
    stop_chat
    for address in ::1 ::; do
        start_at $address
        play <<'END'
A refused 127.0.0.1
A connect ::1
A join
A quiet
log joined from [::1]:
END
        stop_chat
    done
}

# unless_here ADDRESS: skips where this machine does not have it
unless_here() {
    (start_chat -l "$1" && stop_chat) || skip "this machine has no $1"
}

# all_answer ADDRESS...
all_answer() {
    local address
    for address in "$@"; do
        play <<END
A connect $address
A join
A quiet
END
    done
}

@test "with several -l, the server listens at each address, on one port" {
    unless_here 127.0.0.2
    start_chat -l 127.0.0.1 -l 127.0.0.2
    all_answer 127.0.0.1 127.0.0.2
    play <<<'A refused 127.0.0.3'
}

@test "-l 0.0.0.0 -l :: serves both families of addresses, in either order" {
    unless_here ::1
    start_chat -l 0.0.0.0 -l ::
    contains "$WHERE" "every IPv4 address of this machine, 0.0.0.0:$PORT" " and every IPv6 address of this machine, [::]:$PORT"
    all_answer 127.0.0.1 ::1
    stop_chat
    start_chat -l :: -l 0.0.0.0
    all_answer 127.0.0.1 ::1
}

@test "-l with the same address twice listens there once" {
    start_chat -l 127.0.0.1 -l 127.0.0.1
    all_answer 127.0.0.1
}

@test "-l can be given eight times at most" {
    local addresses=() i
    unless_here 127.0.0.2
    for i in {1..8}; do
        addresses=(${addresses[@]+"${addresses[@]}"} -l "127.0.0.$i")
    done
    start_chat "${addresses[@]}"
    all_answer 127.0.0.{1..8}
    stop_chat
    run -2 --separate-stderr within 10 "$ROOT/chat" -p 0 "${addresses[@]}" -l 127.0.0.9
    [ -z "$output" ]
    contains "${stderr_lines[0]}" "chat: -l " 8
    contains "$stderr" "usage: chat "
}

@test "if one of several -l cannot be used, the server prints one line and exits with 1" {
    run -1 within 10 "$ROOT/chat" -p 0 -l 127.0.0.1 -l 192.0.2.1
    [ ${#lines[@]} -eq 1 ]
    starts_with "$output" "chat: cannot listen on 192.0.2.1:"
    unless_here 127.0.0.2
    start_chat -l 127.0.0.2
    run -1 within 10 "$ROOT/chat" -p "$PORT" -l 127.0.0.1 -l 127.0.0.2
    [ ${#lines[@]} -eq 1 ]
    starts_with "$output" "chat: cannot listen on 127.0.0.2:$PORT: address already in use"
}

@test "an address with a port for -l gets an answer that names -p" {
    run -1 within 30 "$ROOT/chat" -l 0.0.0.0:8081
    [ ${#lines[@]} -eq 1 ]
    contains "$output" "cannot listen on 0.0.0.0:8081: " "-l takes an address or a host name, and -p the port"
}

@test "if -a, -p or -k is given several times, the last one counts" {
    start_chat -p 1 -p 0 -a router -a directory -k 1 -k 0
    play <<END
$(stuffed 'A join')
# The directory has no queue to wait in; and nobody is pinged.
A say A 20
A expect said A 20
A silent 2500
END
}

@test "if the port is in use, the server prints one line and exits with 1" {
    start_chat -l 127.0.0.1
    run -1 within 10 "$ROOT/chat" -l 127.0.0.1 -p "$PORT"
    [ "$output" = "chat: cannot listen on 127.0.0.1:$PORT: address already in use; try -p $((PORT + 1))" ]
}

@test "for an unknown name or an address of another machine, the server prints one line and exits with 1" {
    run -1 within 10 "$ROOT/chat" -l 192.0.2.1 -p 0
    [ ${#lines[@]} -eq 1 ]
    starts_with "$output" "chat: cannot listen on 192.0.2.1:0: "
    run -1 within 10 "$ROOT/chat" -l nowhere.invalid -p 0
    [ ${#lines[@]} -eq 1 ]
    starts_with "$output" "chat: cannot listen on nowhere.invalid: "
}

@test "the port is free as soon as the server has ended" {
    start_chat -l 127.0.0.1
    play <<'END'
A join
signal TERM
A expect close 1001
A expect eof
END
    await_end
    start_chat -l 127.0.0.1 -p "$PORT"
}
