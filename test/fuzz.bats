#!/usr/bin/env bats
# Plays inputs of the fuzzers.  fuzz/split.c makes its own streams and cuts them in many
# ways.  The other programs read the files in fuzz/corpus/.  Longer runs of the fuzzers
# found these few files, and together they reach all the code that those runs reached.

bats_require_minimum_version 1.7.0
load helper

# replay TARGET: runs a fuzzer with each file of its corpus.  If it fails, the last file
# that it named is the cause.
replay() {
    local files=("$BATS_TEST_DIRNAME/fuzz/corpus/$1"/*)
    [ ${#files[@]} -gt 10 ]
    "$BIN/fuzz-$1" "${files[@]}"
}

@test "frames and requests in any pieces give the same result" {
    "$BIN/split"
}

@test "ws.c gives each request of the corpus the same verdict in any pieces" {
    replay request
}

@test "ws.c and a simpler decoder agree on the frames of the corpus" {
    replay frames
}

@test "json.c and a simpler scanner agree on the messages of the corpus" {
    replay json
}

# ---- The simulation of the whole server

# After a large change, such as epoll for poll, chat.c may not fit its simulation.
needs_simulation() {
    [ -x "$BIN/fuzz-chat" ] || skip "chat.c no longer fits its simulation, test/fuzz/fuzz-chat.c"
}

# simulate FILE: repeats a run that once showed a fault, and now must not show it
simulate() {
    needs_simulation
    "$BIN/fuzz-chat" "$BATS_TEST_DIRNAME/fuzz/corpus/chat/$1"
}

@test "no message is lost, doubled, changed or out of order in the simulated runs of the corpus" {
    needs_simulation
    replay chat
}

@test "the same bytes give the same simulated run, alone or after others" {
    needs_simulation
    local files=("$BATS_TEST_DIRNAME/fuzz/corpus/chat"/*) file
    export STORY=1
    "$BIN/fuzz-chat" "${files[@]}" 2>"$BATS_TEST_TMPDIR/together"
    for file in "${files[@]}"; do
        "$BIN/fuzz-chat" "$file" 2>>"$BATS_TEST_TMPDIR/alone"
    done
    [ -s "$BATS_TEST_TMPDIR/alone" ]
    cmp "$BATS_TEST_TMPDIR/together" "$BATS_TEST_TMPDIR/alone"
}

# ---- Runs that showed a fault

@test "a parked sender continues as soon as its recipient's outbox has room" {
    simulate a-parked-though-there-is-room
}

@test "an answer or a Close does not overtake earlier messages of the same client" {
    simulate b-answer-overtakes
}

@test "no client is dropped because the server paused, or before its last bytes were read" {
    simulate c-dropped-for-a-pause
}

@test "a client leaves within 10 s in all, whichever states it goes through" {
    simulate d-leaves-too-slowly
}

@test "a client is not evicted before the server has read its whole request" {
    simulate e-evicted-unread
}

@test "before the server drops a client that does not read, it tries to write once more" {
    simulate f-dropped-without-a-last-write
}

@test "after a pause within a turn, the server polls silent clients at once" {
    simulate g-deaf-after-a-pause
}

@test "when the server stops, it does not mistake a full inbox for the end of input" {
    simulate h-read-of-nothing
}

@test "a message that waits for a notice about its absent recipient waits again if that user joins" {
    simulate joins-meanwhile
}
