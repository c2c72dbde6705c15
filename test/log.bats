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
    grep -qxF 'user 1: bad message: {"recipient_id":2}' "$CHAT_LOG"
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
    grep -qxF 'user 1: bad message: \x07\x1B[2J\x7F\x0Asecond line' "$CHAT_LOG"
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
    grep -qxF 'user 1: bad message: ab\xC2' "$CHAT_LOG"
    grep -qxF "user 1: bad message: $(printf '\\x80%.0s' {1..30})... (200 bytes)" "$CHAT_LOG"
    grep -qxF "user 1: bad message: $(printf '\\x01%.0s' {1..30})... (200 bytes)" "$CHAT_LOG"
    grep -qxF "user 1: bad message: $(printf '\\x80%.0s' {1..30})" "$CHAT_LOG"
}

@test "no message can change the writing direction of the log" {
    local first last near
    start_chat
    # U+202A to U+202E, U+2066 to U+2069, U+061C, U+200E and U+200F change the direction,
    # unlike their neighbours.
    first=$'\xe2\x80\xaa\xe2\x80\xae' last=$'\xe2\x81\xa6\xe2\x81\xa9\xd8\x9c\xe2\x80\x8f'
    near=$'\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa'
    play <<END
A join
A text $first$last
A expect notice byte 1
A text $near
A expect notice byte 1
END
    grep -qxF 'user 1: bad message: \xE2\x80\xAA\xE2\x80\xAE\xE2\x81\xA6\xE2\x81\xA9\xD8\x9C\xE2\x80\x8F' "$CHAT_LOG"
    grep -qxF "user 1: bad message: $near" "$CHAT_LOG"
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
