#!/usr/bin/env bats
# The files that do no I/O, by tables in unit.c.

bats_require_minimum_version 1.7.0
load helper

@test "sha1.c gives the digests of RFC 3174 and FIPS 180, at every length around a block" {
    "$BIN/unit" sha1
}

@test "base64.c gives the vectors of RFC 4648, and refuses what is malformed" {
    "$BIN/unit" base64
}

@test "json.c takes what RFC 8259 allows and names the byte of everything else" {
    "$BIN/unit" json
}

@test "ws.c tells a request in order from all others, whole or in any first part" {
    "$BIN/unit" request
}

@test "ws.c lets in pages of its own, those that are named, and programs" {
    "$BIN/unit" origin
}

@test "ws.c reads the same events from frames, whole and in pieces" {
    "$BIN/unit" frames
}

@test "ws.c takes the UTF-8 of RFC 3629 and nothing else, cut anywhere into frames and reads" {
    "$BIN/unit" utf8
}

@test "ws.c writes headers, control frames and responses as the RFC has them" {
    "$BIN/unit" write
}
