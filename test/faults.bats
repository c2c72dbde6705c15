#!/usr/bin/env bats
# System calls that fail: they are interrupted, do less than asked, or lack resources.

bats_require_minimum_version 1.7.0
load helper

setup_file() {
    cc -std=c99 -D_POSIX_C_SOURCE=200809L -shared -fPIC -o "$BATS_FILE_TMPDIR/shim.so" \
        "$BATS_TEST_DIRNAME/fuzz/shim.c" || true
}

# failing FAULTS COMMAND...: runs the command, and its system calls fail as FAULTS says
# (fuzz/shim.c explains FAULTS)
failing() {
    # Not its path, which may have spaces.  A sanitizer wants to be the first library otherwise.
    LD_PRELOAD=shim.so LD_LIBRARY_PATH=$BATS_FILE_TMPDIR SHIM=$1 ASAN_OPTIONS=verify_asan_link_order=0 "${@:2}"
}

setup() {
    CHAT_PID=
    run failing 'pipe EMFILE 1' within 10 "$ROOT/chat" -p 0 -l no.such.address
    [[ $output == *"shim: "* ]] || skip "nothing can be preloaded into this server"
}

# start_failing FAULTS [hurried|tiny] [OPTION...]
start_failing() {
    failing "$1" start_chat "${@:2}"
}

# Checks that each fault did happen.  The shim prints how often when the server ends.
all_happened() {
    stop_chat
    grep '^shim: ' "$CHAT_LOG"
    run ! grep '^shim: .*: 0 of' "$CHAT_LOG"
}

# talk: three users talk, and every message arrives
talk() {
    play <<'END'
patience 30
A join
B join
A say B 100 200
B say A 3000 8
B expect said A 100 200
A expect said B 3000 8
C join
C say A 1000 50
A expect said C 1000 50
A quiet
B quiet
C quiet
END
}

# survives FAULTS: checks with both approaches that no message is lost
survives() {
    local approach
    for approach in directory router; do
        start_failing "$1" -a "$approach"
        talk
        all_happened
    done
}

@test "interrupted system calls lose no message" {
    survives 'read EINTR 3, write EINTR 3, poll EINTR 3, accept EINTR 2'
}

@test "reads and writes that fail with EAGAIN lose no message" {
    survives 'read EAGAIN 3, write EAGAIN 3'
}

@test "reads and writes that fail with ENOBUFS lose no message" {
    survives 'read ENOBUFS 3, write ENOBUFS 3'
}

@test "reads that return only half of the bytes lose no message" {
    survives 'read half 1'
}

@test "writes that take only half of the bytes lose no message" {
    survives 'write half 1'
}

@test "reads and writes of one byte at a time lose no message" {
    survives 'read byte 1, write byte 1'
}

@test "all these faults at once lose no message" {
    survives 'read EINTR 3, read EAGAIN 3, read half 1, write EINTR 3, write EAGAIN 3, write half 1, poll EINTR 3, accept ECONNABORTED 2'
}

@test "the server tries a failed accept again, for every reason" {
    local faults
    for faults in 'accept ECONNABORTED 2, accept EMFILE 2, accept ENFILE 2' \
        'accept ENOBUFS 2, accept ENOMEM 2, accept EINTR 2'; do
        start_failing "$faults"
        talk
        all_happened
    done
}

# calls NAME: how many calls of a function the shim has counted
calls() {
    sed -n "s/^shim: $1 .* of //p" "$CHAT_LOG"
}

# The fault of poll never happens: it is there to count the calls.
@test "while the system lacks memory for accept, the server tries every 100 ms, and its users chat on" {
    local error
    for error in ENOBUFS ENOMEM; do
        start_failing "accept $error 2-12, poll EINTR 1000000-1000000" -l 127.0.0.1
        play <<'END'
A join
clock
B upgrade
log cannot accept: 
A say A 20
A expect said A 20
B expect welcome
# Eleven tries failed.
clock 1000 9000
C join
C say B 20
B expect said C 20
A quiet
END
        stop_chat
        grep '^shim: ' "$CHAT_LOG"
        logged "shim: accept $error 2-12: 11 of "
        [ "$(calls poll)" -lt 300 ]
    done
}

# The fault never happens: it is there to count the calls.  On Linux, an accept that finds no
# connection costs ten times as much as a poll of one descriptor.
@test "the server calls accept once for each connection, and never for nothing" {
    start_failing "accept EINTR 1000000-1000000"
    play <<'END'
A join
B join
C join
A say C 20
C expect said A 20
END
    stop_chat
    [ "$(calls accept)" -eq 3 ]
}

@test "a log line that is written in several parts is whole" {
    start_failing 'write EINTR 3 #log, write byte 2 #log, write half 1 #log'
    play <<'END'
A join
A text {"recipient_id":1,"message":"hi"}
A expect text {"sender_id":1,"message":"hi"}
A text nonsense
A expect notice byte 1
A frame op=close code=1000 "bye"
A expect close 1000
END
    all_happened
    diff - <(grep -vE '^(shim|chat): ' "$CHAT_LOG" | sed 's/:[0-9]*$/:PORT/') <<'END'
user 1 joined from 127.0.0.1:PORT
user 1 -> user 1: "hi"
! user 1: bad message: nonsense
user 1 left: it closed the connection (code 1000): bye
stopping on signal 15
END
}

# gone FAULTS: the faults hit the second connection, user 2.  The server drops it, and
# the others chat as before.
gone() {
    start_failing "$1"
    play <<'END'
A join
B join
C join
A say B 100 50
B say A 100 50
log user 2 left:
A say C 100 50
C expect said A 100 50
A text {"recipient_id":2,"message":"are you there?"}
log user 1 -> user 2: not delivered: user 2 is not connected
C quiet
END
    all_happened
}

@test "a user is dropped if writing to it fails, and the others chat as before" {
    gone 'write EPIPE 2 #2'
    logged "user 2 left: Broken pipe"
    gone 'write ECONNRESET 2 #2'
    logged "user 2 left: Connection reset by peer"
}

@test "a user is dropped if reading from it fails, and the others chat as before" {
    gone 'read ECONNRESET 2 #2'
    logged "user 2 left: Connection reset by peer"
    gone 'read ETIMEDOUT 2 #2'
    grep -qE '^user 2 left: (Connection|Operation) timed out' "$CHAT_LOG"
}

@test "what a user sends after writing to it failed is handled as before, and only the answers are lost" {
    start_failing 'write EPIPE 2 #2'
    play <<'END'
A join
B join
A say B 50
log user 2 left: Broken pipe
B frame op=ping "x"
B text nonsense
B say A 100 2
A expect said B 100 2
B frame op=close code=1000 "bye"
B expect end
A quiet
END
    run ! logged "user 2 left: it closed the connection"        # it left before
    all_happened
}

# With one address, the server makes three calls of setsockopt for it.
@test "a connection that does not inherit the options of its listener gets them" {
    local fault
    start_failing 'setsockopt ENOMEM 9-9' -l 127.0.0.1
    echo 'A join' | play
    stop_chat
    [ "$(calls setsockopt)" -eq 3 ] || skip "no connection inherits them on this system"
    for fault in 'getsockopt ENOMEM 1, setsockopt ENOMEM 9-9' 'setsockopt ENOMEM 2-3'; do
        start_failing "$fault" -l 127.0.0.1
        echo 'A join' | play
        stop_chat
        [ "$(calls setsockopt)" -eq 5 ]
    done
}

@test "if poll cannot handle all slots, the server prints one line and exits with 1" {
    # As macOS does with more than 10,240; here with any number.
    run -1 within 10 failing 'poll EINVAL 1' "$ROOT/chat" -p 0
    output=$(grep -v '^chat: room for ' <<<"$output")       # said where descriptors are few
    contains "$output" "chat: " poll "shim: poll EINVAL 1: "
    [ "$(wc -l <<<"$output")" -eq 2 ]
}

# A pong gets no answer, but the server polls once more.
@test "if poll fails for ever, the server does not spin, and SIGTERM still stops it" {
    local error
    for error in EINVAL ENOMEM; do
        start_failing "poll $error 40-1000000000"
        play <<END
A join
$(repeat 60 'A frame op=pong
run sleep 0.01')
log cannot poll: 
run sleep 1
signal TERM
A expect close 1001 stopping
A expect end
END
        await_end
        grep '^shim: ' "$CHAT_LOG"
        [ "$(calls poll)" -lt 200 ]
    done
}

@test "if the system has no socket or pipe left, the server prints one line and exits with 1" {
    for fault in 'socket EMFILE 1' 'socket ENFILE 1' 'socket ENOBUFS 1' 'pipe EMFILE 1' 'pipe ENFILE 1'; do
        run -1 within 10 failing "$fault" "$ROOT/chat" -p 0
        [ ${#lines[@]} -eq 2 ]
        starts_with "${lines[0]}" "chat: cannot "
        starts_with "${lines[1]}" "shim: $fault: "
    done
}
