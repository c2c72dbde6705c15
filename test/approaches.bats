#!/usr/bin/env bats
# Tests that compare the two approaches: what the router's one queue costs, and what the
# router still promises.
#
# If a recipient does not read, the kernels on both sides buffer a few hundred KiB
# first. So the tests send large messages until a sender waits.

bats_require_minimum_version 1.7.0
load helper

set -o pipefail

# play_stalled BINARY OPTION...: plays the script from standard input in this situation:
#   - A, B, C and D are users 1 to 4
#   - B does not read, and A has sent it nine big messages
#   - the server has sent some of them, and the others fit the router's queue, so A is
#     not parked
# A script can use `A quiet` as a barrier.  After the first one, the server has accepted
# all earlier connections.  After the second, it has read their requests.
play_stalled() {
    start_chat "$@"
    { stalled; cat; } | play
}

stalled() {
    four_users
    printf '%s\n' 'A say B 60000 9' 'log waits for room at user 2'
}

four_users() {
    printf '%s\n' 'A join' 'B rcvbuf 4096' 'B join' 'C join' 'D join'
}

in_log() {      # how many lines match this basic regular expression
    grep -c -- "$1" "$CHAT_LOG" || true
}

# ---- User 1 floods user 2, and user 2 does not read

@test "directory: while user 2 does not read, users 3 and 4 chat as before" {
    play_stalled -a directory <<'END'
C say D 20 100
D expect said C 20 100
D say C 60000
C expect said D 60000
B expect said A 60000 9
A quiet
END
}

@test "router: while user 2 does not read, users 3 and 4 wait, until user 2 reads" {
    play_stalled -a router <<'END'
C say D 20 100
D say C 60000
C silent 100
D silent 100
B expect said A 60000 9
D expect said C 20 100
C expect said D 60000
A quiet
END
}

# flood_to_the_end APPROACH: user 1 floods user 2 until the server drops user 2 at the
# deadline.  The bytes that user 2 still receives and the lost bytes in the log must add
# up to all that were sent.
flood_to_the_end() {
    start_chat hurried -a "$1"
    {
        four_users
        cat <<'END'
A say B 1000 2000
log waits for room at user 2
C say D 20 100
A sent
END
        eventually flood_is_over
        expect_what_went_out
        cat <<'END'
D expect said C 20 100
D say A 20
A expect said D 20
A say B 20
E join
E expect id 5
E say A 20
A expect said E 20
END
    } | play
}

flood_is_over() {
    [ "$(in_log 'user 1 -> user 2: ')" -eq 2000 ]
}

expect_what_went_out() {
    local frame=$((4 + 28 + 1000)) into_outbox lost
    into_outbox=$(in_log '^user 1 -> user 2: "')
    lost=$(sed -n 's/^user 2 left: did not read for 1 s; lost: \([0-9]*\) bytes to it.*/\1/p' "$CHAT_LOG")
    echo "B expect said A 1000 $(((into_outbox * frame - lost) / frame))"
    echo "B expect end"         # perhaps in the middle of the next one
}

@test "directory: at the deadline, the server drops user 2 and logs its lost bytes" {
    flood_to_the_end directory
}

@test "router: at the deadline, the server drops user 2 and logs its lost bytes, and the others continue" {
    flood_to_the_end router
    # Before that, no message of user 3 was handled.
    [ "$(sed -n '/^user 2 left: did not read/q; /^user 3 -> /p' "$CHAT_LOG")" = "" ]
}

@test "directory: a user with a full outbox can still send" {
    start_chat -a directory
    play <<'END'
A join
B rcvbuf 4096
B join
C join
A say B 20 20000
log user 1 waits for room at user 2
B text {"recipient_id":3,"message":"I am busy"}
C expect text {"sender_id":2,"message":"I am busy"}
END
}

# ---- The router's queue

# Twelve users send one message each, while some of user 1's nine messages are queued.
# The first of the twelve fit the queue, and the pongs to their senders show it.  The
# other senders must wait.
twelve_more_messages() {
    local room=$((10 - (9 - $(in_log '^user 1 -> user 2: "')))) i
    for i in {1..12}; do
        echo "C$i say A 20"
        if ((i <= room)); then
            echo "C$i quiet"
        else
            echo "log $((i - room)) waits for the router"
        fi
    done
}

@test "router: the queue takes ten messages, and later senders are parked" {
    start_chat -a router
    {
        cat <<END
A join
B rcvbuf 4096
B join
$(printf 'C%d join\n' {1..12})
A say B 60000 9
END
        eventually logged the router waits for room at user 2
        twelve_more_messages
    } | play
}

@test "router: one segment may hold more than ten messages, if their recipients read" {
    start_chat -a router
    play <<'END'
A join
B join
A cork
A say B 20 50
A uncork
B expect said A 20 50
A quiet
no log waits for
END
}

@test "router: a queued message is delivered even if its sender has left" {
    play_stalled -a router <<'END'
A quiet
C say B 20
C quiet
C reset
log user 3 left
B expect said A 60000 9
B expect said 3 20
D say B 20
B expect said D 20
END
}

@test "router: while the router waits, a closing user gets its Close at once, and no later message" {
    play_stalled -a router <<'END'
C say D 20
C quiet
D frame op=close code=1000
D expect close 1000
D expect eof
B expect said A 60000 9
log user 3 -> user 4: not delivered: user 4 is not connected
C quiet
C say A 20
A expect said C 20
END
}

# ---- Joining while the router waits

@test "router: when the router continues, waiting clients join in the order of their requests" {
    play_stalled hurried -a router <<'END'
F connect
E connect
A quiet
E upgrade
E text {"recipient_id":3,"message":"too early"}
A quiet
F upgrade
log user 2 left: did not read
E expect welcome
E expect id 5
F expect welcome
F expect id 6
C expect text {"sender_id":5,"message":"too early"}
G join
G expect id 7
G say F 20
F expect said G 20
END
    # They did not join before that.
    [ "$(sed -n '/^user 2 left: did not read/q; /^user 5 joined/p' "$CHAT_LOG")" = "" ]
}

@test "directory: new clients join at once while a sender is parked" {
    play_stalled -a directory <<'END'
E join
E expect id 5
E say C 20
C expect said E 20
B expect said A 60000 9
END
}

@test "router: a new client that waits for the router is not evicted for another connection" {
    start_chat tiny -a router
    play <<'END'
A join
B rcvbuf 4096
B join
A say B 60000 9
log the router waits for room at user 2
C connect
D connect
A quiet
C upgrade
D upgrade
A quiet
E connect
E expect http 503
B expect said A 60000 9
C expect welcome
D expect welcome
C say D 20
D expect said C 20
END
}

@test "router: a new client that gives up before it has joined does not disturb others" {
    play_stalled -a router <<'END'
E connect
F connect
A quiet
E upgrade
F upgrade
A quiet
E reset
B expect said A 60000 9
F expect welcome
F say C 20
C expect said F 20
END
}

@test "router: each time it goes on, newcomers join, and users that left give their slots back" {
    start_chat tiny -a router
    {
        cat <<'END'
R rcvbuf 4096
R join
F join
F say R 60000 90
log the router waits for room at user 1
END
        for i in 1 2 3 4 5 6 7 8; do
            echo "X$i upgrade"
            printf 'R sip %d\n' 60000 60000 60000 60000 60000 60000
            printf 'X%d expect http 101\nX%d reset\nlog user %d left\n' $i $i $((i + 2))
        done
    } | play
}

# ---- A turn that ends

# flood: a user that writes to nobody as fast as the server reads, with the mask 01 01 01 2a.
# `yes` ends each frame with a line break, and the mask makes a space of it.
flood() {
    local text='{"recipient_id":999,"message":"xx"}' masked= i
    for ((i = 0; i < 35; i++)); do
        masked=$masked$(printf '\\%03o' $(($(printf '%d' "'${text:i:1}") ^ (i % 4 == 3 ? 0x2a : 1))))
    done
    exec 6<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' >&6
    printf 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' >&6
    exec yes "$(printf "\\201\\244\\001\\001\\001\\052$masked")" >&6
}

# Both wait for the router when it goes on.  Nothing that they send fills an outbox.
@test "router: two users that flood nobody do not keep the others from being served" {
    start_chat -a router
    flood 3>&- & FLOODS=$!
    flood 3>&- & FLOODS="$FLOODS $!"
    { echo 'run until [ "$(grep -c " joined from " "$CHAT_LOG")" -eq 2 ]; do sleep 0.05; done'
      sed 's/user 2/user 4/' <<<"$(stalled)"
      cat <<'END'
log user 1 waits for the router
log user 2 waits for the router
B expect said A 60000 9
C quiet
C say D 20
D expect said C 20
END
    } | play
    kill $FLOODS
}
