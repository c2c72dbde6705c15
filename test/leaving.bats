#!/usr/bin/env bats
# How a connection ends: the client vanishes, its input ends, or one side sends a
# Close.  All earlier messages are still delivered, and the client learns the reason.

bats_require_minimum_version 1.7.0
load helper

# ---- Clients that vanish

@test "when a client vanishes, it is not connected any more, and the others chat as before" {
    start_chat
    play <<'END'
A join
B join Sec-WebSocket-Protocol: notices
B expect notice you are user 2
A reset
log user 1 left
B text {"recipient_id":1,"message":"hello?"}
B expect notice user 1 is not connected
B quiet
END
}

# The server is stopped while user 1 writes and vanishes, so it sees both at once.
@test "messages that a user sent just before it vanished are still delivered" {
    start_chat
    play <<'END'
A join
B join
signal STOP
A say B 100 300
A sent
A reset
signal CONT
B expect said 1 100 300
log user 1 left
B quiet
END
}

# User 3 is parked, so the server does not read it, and it vanishes.  User 4 writes to
# it, and that write fails.  (After an end of input, such a write also raises SIGPIPE.)
@test "if a write to a user fails, its earlier messages are still delivered" {
    start_chat
    play <<END
$(stuffed)
A join
B join
A say R 1000 3
log user 3 waits for room at user 1
A text {"recipient_id":4,"message":"farewell"}
A shutdown
A reset
B text {"recipient_id":3,"message":"come back"}
log user 3 left
B quiet
B text {"recipient_id":3,"message":"come back!"}
log user 4 -> user 3: not delivered: user 3 is not connected
R expect said 2,3 0 23
B expect text {"sender_id":3,"message":"farewell"}
B quiet
# The log may name lost bytes to user 3, but none from it.
run ! grep "user 3.*lost.* [1-9][0-9]* from it" "\$CHAT_LOG"
END
}

# ---- End of input without a Close

@test "a client that ends its input still gets all answers" {
    start_chat
    play <<'END'
A connect
A cork
A upgrade
A frame op=ping "one"
A text {"recipient_id":1,"message":"two"}
A text three
A uncork
A shutdown
A expect welcome
A expect pong "one"
A expect text {"sender_id":1,"message":"two"}
A expect notice not delivered: byte 1
A expect eof
log user 1 left: end of input
B join
B text {"recipient_id":1,"message":"four"}
B quiet
END
}

@test "a client that ends its input while it is parked still gets all its messages" {
    start_chat
    play <<'END'
A rcvbuf 4096
A join
A say A 8000 45
log user 1 waits for room at user 1
A shutdown
A expect said A 8000 45
A expect eof
END
}

# ---- Close from either side

@test "the server answers a Close with the same code, and then closes the connection" {
    start_chat
    for code in 1000 1001 3000 4999; do
        play <<END
A join
A frame op=close code=$code "farewell"
A expect close $code
A expect eof
log left: it closed the connection (code $code): farewell
END
    done
    play <<'END'
A join
A frame op=close
A expect close empty
A expect eof
log user 5 left: it closed the connection
B join
B frame op=close code=1001
B expect close 1001
B expect eof
log user 6 left: it closed the connection (code 1001)
END
    # Nothing stands behind that, not even a space.
    grep -qxF 'user 5 left: it closed the connection' "$CHAT_LOG"
    grep -qxF 'user 6 left: it closed the connection (code 1001)' "$CHAT_LOG"
}

@test "messages before a user's Close are delivered, and messages behind it are not" {
    start_chat
    play <<'END'
A join
B join
A cork
A text {"recipient_id":2,"message":"before"}
A frame op=ping "before"
A frame op=close code=1000
A text {"recipient_id":2,"message":"behind"}
A frame op=ping "behind"
A frame op=close code=1001
A uncork
A text {"recipient_id":2,"message":"far behind"}
A expect pong "before"
A expect close 1000
A expect eof
B expect text {"sender_id":1,"message":"before"}
B quiet
B text {"recipient_id":1,"message":"too late"}
log user 2 -> user 1: not delivered: user 1 is not connected
END
}

@test "a parked client's Close is answered after its parked messages" {
    start_chat
    play <<END
$(stuffed)
A join
A cork
A say R 100 50
A frame op=close code=1000
A uncork
log user 3 waits for room at user 1
R expect said F,A 0 70
A expect close 1000
A expect eof
END
}

@test "after its own Close, the server sends nothing and ignores all input" {
    start_chat
    play <<'END'
A join
B join
A cork
A frame op=ping "before"
A frame mask=0 "not masked"
A frame op=ping "behind"
A text {"recipient_id":2,"message":"behind"}
A uncork
A text {"recipient_id":2,"message":"far behind"}
A expect pong "before"
A expect close 1002
A expect eof
A text {"recipient_id":2,"message":"farther still"}
A frame op=close code=1002
A sent
log ! user 1 left: got Close 1002: a client frame that is not masked
B quiet
END
}

@test "the server's Close comes after the answers to earlier messages" {
    start_chat
    play <<'END'
A join
A cork
A frame op=ping "first"
A text second
A text {"recipient_id":1,"message":"third"}
A frame op=text mask=0 "fourth"
A uncork
A expect pong "first"
A expect notice byte 1
A expect text {"sender_id":1,"message":"third"}
A expect close 1002 not masked
A expect eof
END
}

@test "the server's Close comes after megabytes that wait for a slow recipient" {
    start_chat
    play <<'END'
A rcvbuf 4096
A join
A say 1 60000 50
A frame op=8 code=999
log user 1 waits for room at user 1
A expect said 1 60000 50
A expect close 1002 code
A expect eof
END
}

# ---- A reason is not lost to a reset

@test "an error response arrives even if a megabyte follows the refused request" {
    start_chat
    play <<'END'
A connect
A cork
A send "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n"
A frame repeat=1000000 "x"
A uncork
A sent
A expect http 405
A expect eof
B upgrade Sec-WebSocket-Key: short
B frame repeat=1000000 "x"
B sent
B expect http 400
B expect body Sec-WebSocket-Key
B expect eof
C join
C quiet
END
}

@test "the server's Close arrives even if a megabyte follows the faulty frame" {
    start_chat
    play <<'END'
A join
A cork
A frame rsv=4 "compressed?"
A frame repeat=1000000 "x"
A uncork
A sent
A expect close 1002
A expect eof
B join
B frame size=1000000 repeat=1000000 "x"
B sent
B expect close 1009
B expect eof
END
}

# ---- Ten seconds in all: 4 s here

# start_patient: a server for which 4 s are the time to leave, in all and in each state.
# User 1, A, reads nothing; user 2, B, waits there.
start_patient() {
    local built=$BATS_FILE_TMPDIR/patient
    if ! [ -x "$built/chat" ]; then
        mkdir "$built"
        cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$built"
        make -C "$built" CFLAGS='-O1 -DCLOSE_MS=4000 -DCLOSE_ALL_MS=4000 -DSTALL_MS=60000'
    fi
    ROOT=$built start_chat
}

# leaves_slowly BYTES: a part of a script: A breaks the protocol, and in the next 2.5 s it
# reads five times so many bytes.
leaves_slowly() {
    cat <<END
patience 20
A rcvbuf 4096
A join
B join
B say A 60000 10
log user 2 waits for room at user 1
clock
run date +%s >"\$BATS_TEST_TMPDIR/began"
A frame mask=0 "x"
log user 1 left
$(repeat 5 "A sip $1
run sleep 0.5")
END
}

@test "a client that sends a Close and stays connected leaves within one deadline, not two" {
    local took
    start_patient
    # A reads its Close, and then sends and sends until it is cut off.
    run -1 play <<END
$(leaves_slowly 30000)
A expect end
A pieces 1
A frame repeat=15000 "x"
A sent
END
    took=$(($(date +%s) - $(cat "$BATS_TEST_TMPDIR/began")))
    echo "$output; after $took s"
    contains "$output" "A sent" "a write that failed"
    [ "$took" -ge 3 ]
    [ "$took" -le 5 ]
}

@test "to close and then to write to a peer that ended its input takes no longer than one of them may take" {
    start_patient
    play <<END
$(leaves_slowly 5000)
A shutdown
log user 1: did not close in time; lost:
clock 3990 5900
B quiet
END
}
