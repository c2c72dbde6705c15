#!/usr/bin/env bats
# Tests of the files that do no I/O.  unit.c has the tables of inputs and results.

bats_require_minimum_version 1.7.0
load helper

@test "sha1.c gives the digests of RFC 3174 and FIPS 180, at every length around a block" {
    "$BIN/unit" sha1
}

@test "base64.c gives the examples of RFC 4648, and refuses malformed text" {
    "$BIN/unit" base64
}

@test "json.c accepts the JSON of RFC 8259, and names the faulty byte of everything else" {
    "$BIN/unit" json
}

@test "ws.c accepts correct requests and refuses all others, whole or in any first part" {
    "$BIN/unit" request
}

@test "ws.c accepts programs, the server's own pages and allowed origins, and refuses other pages" {
    "$BIN/unit" origin
}

@test "ws.c reads the same messages from whole frames and from pieces" {
    "$BIN/unit" frames
}

@test "ws.c accepts the UTF-8 of RFC 3629 and nothing else, in any frames and pieces" {
    "$BIN/unit" utf8
}

@test "ws.c writes headers, control frames and responses as the RFC shows them" {
    "$BIN/unit" write
}
