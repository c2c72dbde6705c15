#!/usr/bin/env bats
# Splitting never matters, by streams that are made up here; and the promises that fuzzing looks
# to break, for the bytes in fuzz/corpus/: a few that reach all that longer runs of it have reached.

bats_require_minimum_version 1.7.0
load helper

# replay TARGET: the last file named is the one that failed
replay() {
    local files=("$BATS_TEST_DIRNAME/fuzz/corpus/$1"/*)
    ((${#files[@]} > 10))
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

# Each file in fuzz/corpus/chat-known shows a fault that chat.c is known to have.  Its name begins with
# the letter that the simulation reports.
known_faults() {
    ls "$BATS_TEST_DIRNAME/fuzz/corpus/chat-known" 2>/dev/null | cut -c 1 | tr -d '\n'
}

# still_has LETTER: chat.c has this fault, even if all others are let pass.
still_has() {
    local letters
    needs_simulation
    letters=$(known_faults)
    run env KNOWN="${letters//$1/}" "$BIN/fuzz-chat" "$BATS_TEST_DIRNAME/fuzz/corpus/chat-known/$1-"*
    if [[ $status == 0 || $output != *"fault $1: "* ]]; then
        echo "Fault $1 is not found.  If it is repaired:"
        echo "move its file from fuzz/corpus/chat-known to fuzz/corpus/chat, and delete this test."
        return 1
    fi
}

@test "the server loses, doubles, alters and disorders nothing, whatever clients and kernel do" {
    needs_simulation
    export KNOWN
    KNOWN=$(known_faults)
    replay chat
}

@test "the same bytes give the same run, whatever ran before" {
    needs_simulation
    local files=("$BATS_TEST_DIRNAME/fuzz/corpus/chat"/*) file
    export STORY=1 KNOWN
    KNOWN=$(known_faults)
    "$BIN/fuzz-chat" "${files[@]}" 2>"$BATS_TEST_TMPDIR/together"
    for file in "${files[@]}"; do
        "$BIN/fuzz-chat" "$file" 2>>"$BATS_TEST_TMPDIR/alone"
    done
    [ -s "$BATS_TEST_TMPDIR/alone" ]
    cmp "$BATS_TEST_TMPDIR/together" "$BATS_TEST_TMPDIR/alone"
}

@test "known fault: a sender stays parked although its recipient's outbox is empty" {
    still_has a
}

@test "known fault: an answer or a Close overtakes what the same client sent before it" {
    still_has b
}

@test "known fault: a client is dropped for a pause of the server, or with its answer unread" {
    still_has c
}

@test "known fault: a client takes longer than 10 s in all to leave" {
    still_has d
}

@test "known fault: a whole request is evicted unread" {
    still_has e
}

@test "known fault: a client is dropped for not reading although the kernel would take bytes" {
    still_has f
}

@test "known fault: after a pause within a turn, silent clients are not heard for as long" {
    still_has g
}

@test "known fault: at the stop, a full inbox is taken for the end of input" {
    still_has h
}
