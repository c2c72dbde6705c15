#!/usr/bin/env bats
# A system that fails: calls of the server that are interrupted, fall short, or find no room.

bats_require_minimum_version 1.7.0
load helper

setup_file() {
    cc -std=c99 -D_POSIX_C_SOURCE=200809L -shared -fPIC -o "$BATS_FILE_TMPDIR/shim.so" \
        "$BATS_TEST_DIRNAME/fuzz/shim.c" || true
}

# failing FAULTS COMMAND...: runs it where these calls fail; fuzz/shim.c has the words
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

# Each fault did happen: the server's last lines tell how often.
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

# survives FAULTS: with both approaches, nothing is lost
survives() {
    local approach
    for approach in directory router; do
        start_failing "$1" -a "$approach"
        talk
        all_happened
    done
}

@test "calls that are interrupted lose nothing" {
    survives 'read EINTR 3, write EINTR 3, poll EINTR 3, accept EINTR 2'
}

@test "reads and writes that find nothing and no room after all lose nothing" {
    survives 'read EAGAIN 3, write EAGAIN 3'
}

@test "reads and writes for which there is no memory just now lose nothing" {
    survives 'read ENOBUFS 3, write ENOBUFS 3'
}

@test "reads that give less than there is lose nothing" {
    survives 'read half 1'
}

@test "writes that take less than they should lose nothing" {
    survives 'write half 1'
}

@test "reads and writes of one byte at a time lose nothing" {
    survives 'read byte 1, write byte 1'
}

@test "all of that at once loses nothing" {
    survives 'read EINTR 3, read EAGAIN 3, read half 1, write EINTR 3, write EAGAIN 3, write half 1, poll EINTR 3, accept ECONNABORTED 2'
}

@test "an accept that fails is tried again, whatever the reason" {
    local faults
    for faults in 'accept ECONNABORTED 2, accept EMFILE 2, accept ENFILE 2' \
        'accept ENOBUFS 2, accept ENOMEM 2, accept EINTR 2'; do
        start_failing "$faults"
        talk
        all_happened
    done
}

# gone FAULTS: user 2, who is the second connection, is lost, and the others talk on
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

@test "a user to whom no write succeeds any more is gone, and the others talk on" {
    gone 'write EPIPE 2 #2'
    logged "user 2 left: Broken pipe"
    gone 'write ECONNRESET 2 #2'
    logged "user 2 left: Connection reset by peer"
}

@test "a user from whom no read succeeds any more is gone, and the others talk on" {
    gone 'read ECONNRESET 2 #2'
    logged "user 2 left: Connection reset by peer"
    gone 'read ETIMEDOUT 2 #2'
    grep -qE '^user 2 left: (Connection|Operation) timed out' "$CHAT_LOG"
}

@test "a poll that cannot take as many entries as there may be clients is one clear line, and status 1" {
    # As macOS does with more than 10,240; here with any number.
    run -1 failing 'poll EINVAL 1' timeout -s KILL 10 "$ROOT/chat" -p 0
    [[ ${lines[0]} == "chat: "*poll* && ${lines[1]} == "shim: poll EINVAL 1: "* && ${#lines[@]} -eq 2 ]]
}

@test "a system without a socket or a pipe to give is one clear line, and status 1" {
    for fault in 'socket EMFILE 1' 'socket ENFILE 1' 'socket ENOBUFS 1' 'pipe EMFILE 1' 'pipe ENFILE 1'; do
        run -1 within 10 failing "$fault" "$ROOT/chat" -p 0
        [ ${#lines[@]} -eq 2 ]
        starts_with "${lines[0]}" "chat: cannot "
        starts_with "${lines[1]}" "shim: $fault: "
    done
}
