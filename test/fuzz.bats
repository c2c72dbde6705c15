#!/usr/bin/env bats
# Splitting never matters, by streams that are made up here.

bats_require_minimum_version 1.5.0
load helper

@test "frames and requests mean the same however they are cut" {
    "$BIN/split"
}
