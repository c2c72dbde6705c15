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

@test "the server loses, doubles, alters and disorders nothing, whatever clients and kernel do" {
    replay chat
}
