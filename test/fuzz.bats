#!/usr/bin/env bats
# Splitting never matters, by streams that are made up here; and the promises that fuzzing looks
# to break, for the bytes in fuzz/corpus/: a few that reach all that longer runs of it have reached.

bats_require_minimum_version 1.7.0
load helper

# replay TARGET: the last file named is the one that failed
replay() {
    local files=("$BATS_TEST_DIRNAME/fuzz/corpus/$1"/*)
    [ ${#files[@]} -gt 10 ]
    "$BIN/fuzz-$1" "${files[@]}"
}

@test "frames and requests mean the same however they are cut" {
    "$BIN/split"
}

@test "ws.c gives each request of the corpus one verdict" {
    replay request
}

@test "ws.c decodes the corpus as a second, simpler decoder does" {
    replay frames
}

@test "json.c reads the corpus as a second, naive scanner does" {
    replay json
}

# ---- The simulation of the whole server

# A chat.c that was changed a lot, say to wait in epoll, may not fit the simulation.
needs_simulation() {
    [ -x "$BIN/fuzz-chat" ] || skip "chat.c no longer fits its simulation, test/fuzz/fuzz-chat.c"
}

# simulate FILE: a run that showed a fault, in which the server now keeps its promise
simulate() {
    needs_simulation
    "$BIN/fuzz-chat" "$BATS_TEST_DIRNAME/fuzz/corpus/chat/$1"
}

@test "the server loses, doubles, alters and disorders nothing, whatever clients and kernel do" {
    needs_simulation
    replay chat
}

@test "the same bytes give the same run, whatever ran before" {
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

@test "a sender that waits continues as soon as its recipient's outbox has room" {
    simulate a-parked-though-there-is-room
}

@test "no answer and no Close overtakes what the same client sent before it" {
    simulate b-answer-overtakes
}

@test "no client is dropped for a pause of the server, or with its answer unread" {
    simulate c-dropped-for-a-pause
}

@test "leaving takes 10 s in all, whatever states it goes through" {
    simulate d-leaves-too-slowly
}

@test "a whole request is not evicted unread" {
    simulate e-evicted-unread
}

@test "no client is dropped for not reading without one more write" {
    simulate f-dropped-without-a-last-write
}

@test "after a pause within a turn, silent clients are heard at once" {
    simulate g-deaf-after-a-pause
}

@test "at the stop, a full inbox is not taken for the end of input" {
    simulate h-read-of-nothing
}
