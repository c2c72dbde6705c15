#!/usr/bin/env bats
# The deadlines as they are compiled in; all other tests use a hurried server.

bats_require_minimum_version 1.7.0
load helper

@test "a handshake has ten seconds, and so has a recipient that others wait for" {
    start_chat
    play <<'END'
patience 20
R rcvbuf 4096
R join
F join
H connect
clock
H send "GET /"
F say R 60000 20
log user 2 waits for room at user 1
H expect http 408
clock 9900 15000
log user 1 left: did not read for 10 s
clock 9900 15000
F quiet
END
}
