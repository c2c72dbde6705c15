#!/usr/bin/env bats
# What users see of each other.

bats_require_minimum_version 1.5.0
load helper

@test "two users send each other messages" {
    start_chat
    play <<'END'
A join
B join
A text {"recipient_id":2,"message":"Go Braves!"}
B expect text {"sender_id":1,"message":"Go Braves!"}
B text {"recipient_id":1,"message":"hi"}
A expect text {"sender_id":2,"message":"hi"}
A quiet
B quiet
END
}
