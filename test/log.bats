#!/usr/bin/env bats
# The log: one line for each event, and none with -q.  No message can damage it.

bats_require_minimum_version 1.7.0
load helper

@test "with -q, the server prints only the line that says where it listens" {
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
    run ! grep -v '^chat: room for ' "$CHAT_LOG"        # said where descriptors are few
}

@test "with -q, the server does not log what it refuses" {
    start_chat tiny -q
    play <<'END'
A join
A text nonsense
A expect notice byte 1
A text {"recipient_id":999,"message":"anyone?"}
A frame op=close code=1000 "bye"
A expect close 1000
B join
B frame mask=0 "x"
B expect close 1002
C connect
C send "GET / HTTP/1.1\r\nHost: a.example\r\nAccept: text/html\r\n\r\n"
C expect http 200
D connect
D send "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
D expect http 426
E connect
E send "PUT / HTTP/1.1\r\nHost: a.example\r\n\r\n"
E expect http 405
END
    stop_chat
    [ ! -s "$CHAT_LOG" ]
}

@test "with -q, the server does not log that a user leaves" {
    start_chat -q
    play <<'END'
A join
A frame op=close code=1000 "bye"
A expect close 1000
A expect eof
END
    stop_chat
    run ! grep -v '^chat: room for ' "$CHAT_LOG"        # said where descriptors are few
}

@test "the log shows each user that joins or leaves, and each message" {
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
    grep -qxF '! user 1: bad message: {"recipient_id":2}' "$CHAT_LOG"
    grep -qxF 'user 1 left: it closed the connection (code 1000): bye' "$CHAT_LOG"
    grep -qxE 'user 2 left: Connection reset by peer(; lost: .*)?' "$CHAT_LOG"
}

@test "no message can send control characters to the terminal" {
    start_chat
    # In some terminals, C2 9B starts a control sequence, like ESC [.  C2 A0 is a space.
    local csi=$'\xc2\x9b' space=$'\xc2\xa0' del=$'\x7f'
    play <<END
A join
A frame op=text "\x07\x1b[2J\x7f\nsecond line"
A expect notice byte 1
A text {"recipient_id":1,"message":"${csi}2J$space$del"}
A expect text {"sender_id":1,"message":"${csi}2J$space$del"}
END
    grep -qxF '! user 1: bad message: \x07\x1B[2J\x7F\x0Asecond line' "$CHAT_LOG"
    grep -qxF "user 1 -> user 1: \"\\xC2\\x9B2J$space\\x7F\"" "$CHAT_LOG"
}

@test "the log cuts a long message, but not inside a character" {
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

@test "the log says why the server refused a request" {
    start_chat
    play <<'END'
A upgrade Sec-WebSocket-Version: 8
A expect http 426
log : 426: Sec-WebSocket-Version 13 wanted; it was: 8
END
}

@test "the log escapes bytes that are not characters, and cuts the line at 120 bytes" {
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
    grep -qxF '! user 1: bad message: ab\xC2' "$CHAT_LOG"
    grep -qxF "! user 1: bad message: $(printf '\\x80%.0s' {1..30})... (200 bytes)" "$CHAT_LOG"
    grep -qxF "! user 1: bad message: $(printf '\\x01%.0s' {1..30})... (200 bytes)" "$CHAT_LOG"
    grep -qxF "! user 1: bad message: $(printf '\\x80%.0s' {1..30})" "$CHAT_LOG"
}

@test "no message can change the writing direction of the log" {
    local first last near
    start_chat
    # U+202A to U+202E, U+2066 to U+2069, U+061C, U+200E and U+200F change the direction,
    # unlike their neighbours.
    first=$'\xe2\x80\xaa\xe2\x80\xae' last=$'\xe2\x81\xa6\xe2\x81\xa9\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f'
    near=$'\xe2\x80\x8d\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\xd8\xa7\xe2\x80\x8b\xe2\x80\x90\xe2\x82\xac\xc2\xa0'
    play <<END
A join
A text $first$last
A expect notice byte 1
A text $near
A expect notice byte 1
END
    grep -qxF '! user 1: bad message: \xE2\x80\xAA\xE2\x80\xAE\xE2\x81\xA6\xE2\x81\xA9\xD8\x9C\xE2\x80\x8E\xE2\x80\x8F' "$CHAT_LOG"
    grep -qxF "! user 1: bad message: $near" "$CHAT_LOG"
}

@test "a log file that reaches the limit of its size does not stop the server" {
    ulimit -Sf 1
    start_chat
    ulimit -Sf "$(ulimit -Hf)"
    play <<'END'
A join
A say 7 20 100
A say A 20
A expect said A 20
END
}

# The functions below print parts of scripts.

# leaves COMMAND: a user plays COMMAND, and the server closes its connection.
leaves() {
    printf '%s\n' 'A join' "A $1" 'A expect end' 'A close'
}

# refused COMMAND: a request that does not lead to a 101
refused() {
    printf '%s\n' 'A connect' "A $1" 'A expect end' 'A close'
}

all_ways_to_leave() {
    local frame
    for frame in 'op=close' 'op=close code=1000 "bye"' 'op=close code=1005' 'op=close code=1000 "\xff"' \
        'op=text mask=0 "x"' 'op=text rsv=4 "x"' 'op=3 "x"' 'op=ping fin=0' 'op=cont "x"' \
        'op=text len=16 "x"' 'op=text "\xff"'; do
        leaves "frame $frame"
    done
    leaves 'hex 888100000000ff'                 # a Close with half a code
    leaves 'hex 89fe'                           # a ping of more than 125 bytes
    leaves 'hex 018000000000818000000000'       # a message inside another
    leaves 'hex 81ff8000000000000000'           # the top bit of the length
    leaves 'hex 81ff0000000000010001'           # over the limit
    leaves shutdown
    printf '%s\n' 'A join' 'A reset' 'log left: Connection reset'
}

all_refused_requests() {
    local get='GET / HTTP/1.1\r\n' host='Host: localhost\r\n' lines header
    for lines in "" "$host$host" 'Host: a b\r\n' "${host}Content-Length: 1\r\n" "$host: x\r\n" \
        "${host}x\r\n" "${host}x : x\r\n" "$host(: x\r\n" ' x: x\r\n' "${host}Origin: x\r\nOrigin: x\r\n" \
        "${host}Origin: http://evil.example\r\n" "$host" 'Host: pc.local:8080\r\nAccept: text/html\r\n'; do
        refused "send \"$get$lines\r\n\""
    done
    for lines in 'GET / HTTP/1.0' 'POST / HTTP/1.1' 'PUT / HTTP/1.1' hello; do
        refused "send \"$lines\r\n$host\r\n\""
    done
    for lines in 'hello\n' 'a\rb' '\x01' '\x16' '{' "$get"; do
        refused "send \"$lines\""       # the last one: at its deadline
    done
    refused "send \"GET /$(printf '%09000d' 0)\""
    refused "send \"${get}x: $(printf '%09000d' 0)\""
    for header in Upgrade Connection Sec-WebSocket-Version Sec-WebSocket-Key 'Sec-WebSocket-Version: 8' \
        'Sec-WebSocket-Key: x' 'Sec-WebSocket-Protocol: a b' 'Sec-WebSocket-Extensions: a b' \
        'Sec-WebSocket-Key: x | Sec-WebSocket-Key: x' \
        'Sec-WebSocket-Version: 13 | Sec-WebSocket-Version: 13'; do
        refused "upgrade $header"
    done
    printf '%s\n' 'A connect' "A send \"$get\"" 'A shutdown' 'A expect http 400' 'A close'
}

# Thirty users talk, and a few make mistakes.
class() {
    printf 'U%d join Sec-WebSocket-Protocol: notices\n' {1..30}
    printf 'U%d text {"recipient_id":7,"message":"hi, how are you?"}\n' {1..30}
    cat <<'END'
U3 text {"recipient_id":"7","message":"hi, how are you?"}
U3 text {"recipient_id":999,"message":"hi, how are you?"}
U3 frame op=binary "\xff"
END
    all_ways_to_leave
    all_refused_requests
}

# events_of SERVER-AND-OPTIONS SCRIPT: plays it, and keeps the log.
events_of() {
    start_chat $1
    play <<<"$2"
    stop_chat || true           # the script may have stopped it already
    cat "$CHAT_LOG" >>"$BATS_TEST_TMPDIR/logs"
}

# every_event: prints the log of all usual events.  The longest usual ids and addresses
# stand in place of those of the test.
every_event() {
    local approach
    events_of hurried "$(class)"
    for approach in directory router; do
        events_of "hurried -a $approach" "$(stuffed; echo 'log left: did not read')"
        events_of "-a $approach" "$(stuffed; echo 'signal TERM'; echo 'log the server stopped')"
    done
    events_of 'tiny -k 1' "$(printf '%s\n' 'H connect' 'B join' 'C join' 'D join' 'E join' 'F connect' \
        'F expect http 503' 'log left: silent')"
    # The first line is there where descriptors are few.
    sed -E '/^chat: room for /d; s/user [0-9]+/user 1234/g; s/Broken pipe/Connection reset by peer/
        s/127\.0\.0\.1:[0-9]+(: |,|$)/192.168.100.123:54321\1/' "$BATS_TEST_TMPDIR/logs"
}

# Only a quote or advice goes beyond column 79.
too_long() {
    sed -E 's/"0000.*|; it was: .*//' "$BATS_TEST_TMPDIR/wide" | grep '^.\{80\}' |
        grep -vF -e ': 400: HTTP/1.1 wanted (nginx: proxy_http_version 1.1)' \
            -e ': 403: a page of http://evil.example may not connect; chat -o ' \
            -e ': 200: a page that says to open http://'
}

@test "among thirty users, each refusal in the log begins with !, and all usual lines have less than 80 columns" {
    every_event >"$BATS_TEST_TMPDIR/wide"
    run too_long
    echo "$output"
    [ "$output" = "" ]
    diff <(grep -v '^!' "$BATS_TEST_TMPDIR/wide" | sed 's/: "0.*/: "0/; s/[0-9]* bytes .*/N bytes/' | LC_ALL=C sort -u |
        grep -v 'reset by peer; lost') - <<'END'
192.168.100.123:54321: 426: a plain request, shown the text
stopping on signal 15
the router waits for room at user 1234
user 1234 -> user 1234: "0
user 1234 -> user 1234: "hi, how are you?"
user 1234 joined from 192.168.100.123:54321
user 1234 joined from 192.168.100.123:54321, with notices
user 1234 left: Connection reset by peer
user 1234 left: did not read for 1 s; lost: N bytes
user 1234 left: end of input
user 1234 left: it closed the connection
user 1234 left: it closed the connection (code 1000): bye
user 1234 left: silent for 2 s
user 1234 left: the server is stopping
user 1234 waits for room at user 1234
user 1234 waits for the router
user 1234: N bytes
user 1234: the server stopped; lost: N bytes
END
    diff <(grep '^!' "$BATS_TEST_TMPDIR/wide" | sed -E 's/(: [2-5]..|Close [0-9]+|message|delivered|stopping): .*/\1/' |
        LC_ALL=C sort -u) - <<'END'
! 192.168.100.123:54321: 200
! 192.168.100.123:54321: 400
! 192.168.100.123:54321: 403
! 192.168.100.123:54321: 405
! 192.168.100.123:54321: 408
! 192.168.100.123:54321: 414
! 192.168.100.123:54321: 426
! 192.168.100.123:54321: 431
! 192.168.100.123:54321: 503
! 192.168.100.123:54321: closed to make room for another connection
! user 1234 -> user 1234: lost, the server is stopping
! user 1234 -> user 1234: not delivered
! user 1234 left: got Close 1002
! user 1234 left: got Close 1007
! user 1234 left: got Close 1009
! user 1234: bad message
END
}
