#!/usr/bin/env bats
# The command line, the compiled limits, and the addresses at which the server listens.

bats_require_minimum_version 1.7.0
load helper

# wrong MESSAGE OPTION...: the server refuses these options with MESSAGE and the usage
wrong() {
    local message=$1
    shift
    run -2 --separate-stderr "$ROOT/chat" "$@"
    [ -z "$output" ]
    [[ ${stderr_lines[0]} == *"$message"* ]] || { echo "$* got: ${stderr_lines[0]}"; return 1; }
    [[ $stderr == *"usage: chat [-a directory|router]"* ]]
}

@test "a wrong option gets one line, the usage and exit status 2" {
    wrong "-a takes directory or router: tree" -a tree
    wrong "-p takes a port, 0 to 65535: http" -p http
    wrong "-p takes a port, 0 to 65535: 80a" -p 80a
    wrong "-p takes a port, 0 to 65535: 65536" -p 65536
    wrong "-p takes a port, 0 to 65535: -1" -p -1
    wrong "-p takes a port, 0 to 65535: " -p ''
    wrong "-k takes seconds: soon" -k soon
    wrong "-k takes seconds: 99999999999999999999" -k 99999999999999999999
    wrong "options only: 8080" 8080
    wrong "x" -x
    wrong "p" -p
}

@test "-h fits on a screen and shows the compiled limits" {
    run -0 --separate-stderr "$ROOT/chat" -h
    [ -z "$stderr" ]
    [ "${#lines[@]}" -le 24 ]
    for line in "${lines[@]}"; do
        [ "${#line}" -lt 80 ]
    done
    for option in a l p o k q h V; do
        [[ $output == *"-$option"* ]]
    done
    [[ $output == *"Compiled for 1024 clients and messages of 65536 bytes"* ]]
}

@test "-V shows the version" {
    run -0 "$ROOT/chat" -V
    [[ $output == "chat "[0-9]* ]]
}

@test "make CLIENTS=... MESSAGE=... changes the limits" {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    make -C "$BATS_TEST_TMPDIR" CFLAGS=-O0 CLIENTS=3 MESSAGE=100
    run -0 "$BATS_TEST_TMPDIR/chat" -h
    [[ $output == *"Compiled for 3 clients and messages of 100 bytes"* ]]
}

@test "the compiler refuses limits of 0 or over 1 GiB, and names them" {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    for limits in "CLIENTS=10000 MESSAGE=1000000" "CLIENTS=0" "MESSAGE=0"; do
        run ! make -C "$BATS_TEST_TMPDIR" CFLAGS=-O0 $limits
        [[ $output == *CLIENTS*MESSAGE* ]]
    done
}

@test "with -p 0, the server listens on the same port at each address of localhost" {
    start_chat
    local addresses
    addresses=$(getent ahosts localhost | awk '$2 == "STREAM" { print $1 }' | sort -u)
    for address in $addresses; do
        play <<END
A connect $address
A join
A quiet
END
    done
}

# several ADDRESS...: makes a program `chat` that sees these addresses for several.test
several() {
    unshare -rm true 2>/dev/null || skip "a file system of one's own is not to be had here"
    printf '%s several.test\n' "$@" >"$BATS_TEST_TMPDIR/hosts"
    cat >"$BATS_TEST_TMPDIR/chat" <<END
#!/bin/sh
exec unshare -rm sh -c 'mount --bind "$BATS_TEST_TMPDIR/hosts" /etc/hosts && exec "$ROOT/chat" "\$@"' chat "\$@"
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
    start_chat -l 127.0.0.3
    several 127.0.0.2 127.0.0.3
    run -1 "$ROOT/chat" -l several.test -p "$PORT"
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
}

@test "the server does not start if two addresses of a name exclude each other, even with -p 0" {
    several 127.0.0.2 0.0.0.0
    run -1 "$ROOT/chat" -l several.test -p 0
    [[ ${#lines[@]} -eq 1 && $output == "chat: cannot listen on "*": Address"*" in use" ]]
}

@test "with -l, the server listens at that address only" {
    start_chat -l 127.0.0.2
    play <<'END'
A refused 127.0.0.1
A connect 127.0.0.2
A join
A quiet
END
    stop_chat
    for address in ::1 ::; do
        start_chat -l $address || skip "this machine has no ::1"
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

@test "if the port is in use, the server prints one line and exits with 1" {
    start_chat -l 127.0.0.1
    run -1 "$ROOT/chat" -l 127.0.0.1 -p "$PORT"
    [ "$output" = "chat: cannot listen on 127.0.0.1:$PORT: address already in use; try -p $((PORT + 1))" ]
}

@test "for an unknown name or an address of another machine, the server prints one line and exits with 1" {
    run -1 "$ROOT/chat" -l 192.0.2.1 -p 0
    [[ ${#lines[@]} -eq 1 && $output == "chat: cannot listen on 192.0.2.1:0: "* ]]
    run -1 "$ROOT/chat" -l nowhere.invalid -p 0
    [[ ${#lines[@]} -eq 1 && $output == "chat: cannot listen on nowhere.invalid: "* ]]
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
