#!/usr/bin/env bats
# The command line, the limits, and the log.

bats_require_minimum_version 1.5.0
load helper

# wrong MESSAGE OPTION...: these options are refused, with this line and the usage
wrong() {
    local message=$1
    shift
    run -2 --separate-stderr "$ROOT/chat" "$@"
    [ -z "$output" ]
    [[ ${stderr_lines[0]} == *"$message"* ]] || { echo "$* got: ${stderr_lines[0]}"; return 1; }
    [[ $stderr == *"usage: chat [-a directory|router]"* ]]
}

@test "what is no option, or lacks its value, is refused with the usage and status 2" {
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

@test "-h fits a screen and tells the limits compiled in" {
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

@test "-V tells the version" {
    run -0 "$ROOT/chat" -V
    [[ $output == "chat "[0-9]* ]]
}

@test "make CLIENTS=... MESSAGE=... changes the limits" {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    make -C "$BATS_TEST_TMPDIR" CFLAGS=-O0 CLIENTS=3 MESSAGE=100
    run -0 "$BATS_TEST_TMPDIR/chat" -h
    [[ $output == *"Compiled for 3 clients and messages of 100 bytes"* ]]
}

@test "limits that need more than 1 GiB, or none, are refused by the compiler, by name" {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    for limits in "CLIENTS=10000 MESSAGE=1000000" "CLIENTS=0" "MESSAGE=0"; do
        run ! make -C "$BATS_TEST_TMPDIR" CFLAGS=-O0 $limits
        [[ $output == *CLIENTS*MESSAGE* ]]
    done
}

@test "-p 0 takes one port for every address that localhost has" {
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

# several ADDRESS...: a program `chat` for which several.test has these addresses
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

@test "a name with several addresses is listened on at each that is here, and once where it is twice" {
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

@test "a name one of whose addresses is in use is not half listened on" {
    start_chat -l 127.0.0.3
    several 127.0.0.2 127.0.0.3
    run -1 "$ROOT/chat" -l several.test -p "$PORT"
    [ "$output" = "chat: cannot listen on 127.0.0.3:$PORT: address already in use; try -p $((PORT + 1))" ]
}

@test "a name with more than eight addresses is listened on at eight" {
    local refused=0
    several 127.0.0.{2..10}
    start_chat -l several.test
    for address in 127.0.0.{2..10}; do
        (exec 4<>"/dev/tcp/$address/$PORT") 2>/dev/null || refused=$((refused + 1))
    done
    [ "$refused" -eq 1 ]
}

@test "a name whose addresses are in each other's way is given up, even with -p 0" {
    several 127.0.0.2 0.0.0.0
    run -1 "$ROOT/chat" -l several.test -p 0
    [[ ${#lines[@]} -eq 1 && $output == "chat: cannot listen on "*": Address"*" in use" ]]
}

@test "-l listens there, and says so" {
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

@test "a port in use is one clear line, and status 1" {
    start_chat -l 127.0.0.1
    run -1 "$ROOT/chat" -l 127.0.0.1 -p "$PORT"
    [ "$output" = "chat: cannot listen on 127.0.0.1:$PORT: address already in use; try -p $((PORT + 1))" ]
}

@test "an address that is not here, or is none, is one clear line, and status 1" {
    run -1 "$ROOT/chat" -l 192.0.2.1 -p 0
    [[ ${#lines[@]} -eq 1 && $output == "chat: cannot listen on 192.0.2.1:0: "* ]]
    run -1 "$ROOT/chat" -l nowhere.invalid -p 0
    [[ ${#lines[@]} -eq 1 && $output == "chat: cannot listen on nowhere.invalid: "* ]]
}

@test "the port is free again as soon as the server has ended" {
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

@test "-q silences the log, but not the line that says where it listens" {
    start_chat -q
    play <<'END'
A join
A text {"recipient_id":7,"message":"x"}
A text nonsense
A expect notice byte 1
B connect
B send "nonsense\r\n\r\n"
B expect http 400
END
    stop_chat
    [ ! -s "$CHAT_LOG" ]
}

@test "-q is silent about whoever leaves, too" {
    start_chat -q
    play <<'END'
A join
A frame op=close code=1000 "bye"
A expect close 1000
A expect eof
END
    stop_chat
    [ ! -s "$CHAT_LOG" ]
}

@test "the log tells who joined from where, who wrote to whom, and who left and why" {
    start_chat
    play <<'END'
A join
B join Sec-WebSocket-Protocol: notices
A text {"recipient_id":2,"message":"hi"}
A text {"recipient_id":2}
A frame op=close code=1000 "bye"
A expect notice message is missing
A expect close 1000
B reset
log user 2 left
END
    stop_chat
    grep -qE '^user 1 joined from 127\.0\.0\.1:[0-9]+$' "$CHAT_LOG"
    grep -qE '^user 2 joined from 127\.0\.0\.1:[0-9]+, with notices$' "$CHAT_LOG"
    grep -qxF 'user 1 -> user 2: "hi"' "$CHAT_LOG"
    grep -qxF 'user 1: bad message: {"recipient_id":2}' "$CHAT_LOG"
    grep -qxF 'user 1 left: it sent Close 1000 bye' "$CHAT_LOG"
    grep -qxE 'user 2 left: Connection reset by peer(; lost: .*)?' "$CHAT_LOG"
}

@test "no message can play with the terminal" {
    start_chat
    # C2 9B starts commands in some terminals, as ESC [ does; C2 A0 is just a space
    local csi=$'\xc2\x9b' space=$'\xc2\xa0' del=$'\x7f'
    play <<END
A join
A frame op=text "\x07\x1b[2J\x7f\nsecond line"
A expect notice byte 1
A text {"recipient_id":1,"message":"${csi}2J$space$del"}
A expect text {"sender_id":1,"message":"${csi}2J$space$del"}
END
    grep -qxF 'user 1: bad message: \x07\x1B[2J\x7F\x0Asecond line' "$CHAT_LOG"
    grep -qxF "user 1 -> user 1: \"\\xC2\\x9B2J$space\\x7F\"" "$CHAT_LOG"
}

@test "long messages are cut in the log, and not inside a character" {
    start_chat
    local long shown
    long=$(printf 'é%.0s' {1..100})
    shown=$(printf 'é%.0s' {1..59})         # of 120 bytes, the quote is one
    play <<END
A join
A text {"recipient_id":1,"message":"$long"}
A expect text {"sender_id":1,"message":"$long"}
A text {"recipient_id":1,"message":"x$long"}
A expect text {"sender_id":1,"message":"x$long"}
END
    grep -qxF "user 1 -> user 1: \"$shown... (202 bytes)" "$CHAT_LOG"
    grep -qxF "user 1 -> user 1: \"x$shown... (203 bytes)" "$CHAT_LOG"
}

@test "bytes that are no characters are escaped in the log, and cut where 120 are shown" {
    start_chat
    play <<'END'
A join
A frame op=binary "ab\xC2"
A expect notice byte 3: not UTF-8
A frame op=binary repeat=200 "\x80"
A expect notice byte 1: not UTF-8
A frame op=text repeat=200 "\x01"
A expect notice byte 1
A frame op=binary repeat=30 "\x80"
A expect notice byte 1: not UTF-8
END
    grep -qxF 'user 1: bad message: ab\xC2' "$CHAT_LOG"
    grep -qxF "user 1: bad message: $(printf '\\x80%.0s' {1..30})... (200 bytes)" "$CHAT_LOG"
    grep -qxF "user 1: bad message: $(printf '\\x01%.0s' {1..30})... (200 bytes)" "$CHAT_LOG"
    grep -qxF "user 1: bad message: $(printf '\\x80%.0s' {1..30})" "$CHAT_LOG"
}

@test "no message can turn the log's text around" {
    local first last near
    start_chat
    # U+202A, U+202E, U+2066 and U+2069; their neighbours are shown
    first=$'\xe2\x80\xaa\xe2\x80\xae' last=$'\xe2\x81\xa6\xe2\x81\xa9'
    near=$'\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa'
    play <<END
A join
A text $first$last
A expect notice byte 1
A text $near
A expect notice byte 1
END
    grep -qxF 'user 1: bad message: \xE2\x80\xAA\xE2\x80\xAE\xE2\x81\xA6\xE2\x81\xA9' "$CHAT_LOG"
    grep -qxF "user 1: bad message: $near" "$CHAT_LOG"
}
