#!/usr/bin/env bats
# If a recipient's outbox is full, its senders wait in turn, and no message is lost.
#
# Nearly all of this holds for both approaches, so most scripts are played with each.

bats_require_minimum_version 1.7.0
load helper

set -o pipefail

# with_both [COMMAND] < SCRIPT: plays the script with each approach, and then runs the
# command, which checks the log.
with_both() {
    local script approach
    script=$(cat)
    for approach in directory router; do
        echo "--- with -a $approach"
        start_chat -a "$approach"
        play <<<"$script"
        "$@"
        stop_chat
    done
}

# R, F, C, D and E are users 1 to 5.  R does not read, F is parked, and E gets notices.
five_users() {
    stuffed 'C join' 'D join' 'E join Sec-WebSocket-Protocol: notices' \
        'E expect notice you are user 5'
}

# ---- Once, and in order

@test "a recipient that pauses and reads on gets every message once and in order, big and small" {
    with_both <<END
$(five_users)
C say R 20 3000
C say R 30000 5
C say R 8
D say R 65000 10
D say R 20 10
R expect said F,C,D 0 1000
log user 3 waits for
R sip 200000
R expect said F,C,D 0 2046
R quiet
C say D 20
D expect said C 20
END
}

@test "a recipient that is slower than all senders gets every message" {
    with_both <<END
$(five_users)
C say R 1000 200
$(printf 'R sip %d\n' {1..9}000 {1..9}0000)
R expect said F,C 0 220
R quiet
F quiet
C quiet
END
}

@test "a user that writes to itself without reading is parked, and then gets every message" {
    with_both <<'END'
A rcvbuf 4096
A join
B join
A say A 20 5000
A say A 60000 20
A say A 8 5
log waits for room at user 1
A expect said A 0 5025
A quiet
A say B 20
B expect said A 20
END
}

@test "fifty frames in one segment to a full recipient all arrive, even if the sender sends no more" {
    with_both <<END
$(five_users)
C cork
C say R 100 50
C uncork
log user 3 waits for
R expect said F,C 0 70
R quiet
END
}

@test "a frame that was incomplete when its sender was parked arrives whole" {
    with_both <<END
$(five_users)
C cork
C say R 20
C frame op=text fin=0 "{\"recipient_id\":"
C frame op=ping "in between"
C send "\x80\x98\x00\x00\x00\x00 1,\"message\":"
C uncork
log user 3 waits for
D cork
D say R 20
D send "\x81\xa1"
D uncork
log user 4 waits for
D send "\x00\x00\x00\x00{\"recipient_id\":1,\"message\""
R expect said F,C,D 0 22
C expect pong "in between"
C send "\"cut once\"}"
R expect text {"sender_id":3,"message":"cut once"}
D send ":\"ab\"}"
R expect text {"sender_id":4,"message":"ab"}
C quiet
D quiet
END
}

# ---- In turn

# Prints the senders of the messages to user 1, in the order of delivery.
order_of() {
    sed -n "s/^user \([$1]\) -> user 1: \".*/\1/p" "$CHAT_LOG" | tr -d '\n'
}

served_in_the_order_of_arrival() {
    [ "$(order_of 345)" = 435435 ]
}

@test "senders that wait for the same recipient take turns in the order of arrival" {
    with_both served_in_the_order_of_arrival <<END
$(five_users)
D say R 20000 2
log user 4 waits for
C say R 20 2
log user 3 waits for
E say R 20 2
log user 5 waits for
R expect said F,C,D,E 0 26
R quiet
END
}

# share_of_sixteen COMMAND COUNT: COMMAND prints the lines with which S1 to S16 flood
# R.  All of them are parked behind F.  When F's messages are delivered, R reads COUNT
# more messages, and the sixteen must have equal shares of them.
share_of_sixteen() {
    cat <<END
R rcvbuf 4096
R join
F join
$(printf 'S%d join\n' {1..16})
F say R 60000 10
log waits for room at user 1
$("$1")
$(printf 'log user %d waits for\n' {3..18})
R expect said F$(printf ',S%d' {1..16}) 0 600
R share S1$(printf ',S%d' {2..16}) $2 10
END
}

all_say_small() {
    printf 'S%d say R 64 2500\n' {1..16}
}

one_says_big() {
    printf 'S%d say R 64 1000\n' {1..15}
    echo S16 say R 20000 500
}

all_say_both() {
    local i
    for i in {1..60}; do
        printf 'S%d say R 8 10\n' {1..16}
        printf 'S%d say R 10000\n' {1..16}
    done
}

@test "sixteen senders to one recipient get equal shares" {
    with_both <<<"$(share_of_sixteen all_say_small 24000)"
}

@test "of sixteen senders, one with big messages gets the same share as the others" {
    with_both <<<"$(share_of_sixteen one_says_big 4800)"
}

@test "sixteen senders of both big and small messages get equal shares" {
    with_both <<<"$(share_of_sixteen all_say_both 8000)"
}

# ---- The room for one reply

@test "thousands of pings from a client that does not read all get their pongs, in order" {
    local long
    long=$(printf '%0100d' 0)
    with_both <<END
A rcvbuf 4096
A join
B join
A cork
$(printf "A frame op=ping \"%d $long\"\n" {1..5000})
A uncork
B say B 20
B expect said B 20
$(printf "A expect pong \"%d $long\"\n" {1..5000})
A quiet
END
}

@test "thousands of mistakes from a client that does not read all get their notices" {
    with_both <<END
A rcvbuf 4096
A join
B join
A cork
$(repeat 6000 'A text {')
A uncork
B say B 20
B expect said B 20
$(repeat 6000 'A expect notice not delivered: byte 2:')
A quiet
END
}

@test "thousands of messages to an unknown id from a client that does not read all get their notices" {
    with_both <<END
A rcvbuf 4096
A join Sec-WebSocket-Protocol: notices
A expect notice you are user 1
B join
A say 7 8 10000
B quiet
$(repeat 10000 'A expect notice user 7 is not connected')
A quiet
B quiet
END
}

# ---- Senders and recipients that leave

@test "messages of a parked sender are delivered even if it closes, ends its input or vanishes" {
    with_both <<END
$(five_users)
C say R 20 3
log user 3 waits for
C frame op=close code=1000
D say R 20 3
log user 4 waits for
D shutdown
E say R 20 3
log user 5 waits for
E reset
R expect said F,C,D,5 0 29
C expect close 1000
C expect eof
D expect eof
R quiet
F quiet
END
}

@test "directory: when a parked sender vanishes, its messages are delivered, and its own senders continue" {
    start_chat
    play <<END
$(five_users)
X rcvbuf 4096
X join
X say R 20 3
log user 6 waits for
D say X 60000 20
log user 4 waits for room at user 6
X reset
D quiet
log user 4 -> user 6: not delivered: user 6 is not connected
R expect said F,6 0 23
R quiet
END
}

# The log has a line for every message of users 2, 3 and 5, delivered or not.
all_is_accounted_for() {
    [ "$(grep -c 'user [235] -> user 1: ' "$CHAT_LOG")" -eq 24 ]
}

# recipient_leaves COMMAND: R leaves by this command while three senders are parked for
# it.  The deadline of 10 s is too far away to drop R before.
recipient_leaves() {
    with_both all_is_accounted_for <<END
$(five_users)
C say R 20 3
log user 3 waits for
E say R 20
log user 5 waits for
$1
E expect notice user 1 is not connected
F quiet
C quiet
log 3 user 3 -> user 1: not delivered: user 1 is not connected
no log did not read
C say D 20
D expect said C 20
END
}

@test "if a recipient closes, the senders parked for it get a notice and continue" {
    recipient_leaves 'R frame op=close code=1000'
}

@test "if the input of a recipient ends, the senders parked for it get a notice and continue" {
    recipient_leaves 'R shutdown'
}

@test "if a recipient vanishes, the senders parked for it get a notice and continue" {
    recipient_leaves 'R reset'
}

@test "if a recipient breaks the protocol, the senders parked for it get a notice and continue" {
    recipient_leaves 'R frame op=15 "x"'
}

# ---- Room is used

# Each reader takes so many bytes, and then no more.  Its writer wants to write on.
readers_that_stop() {
    local kb
    for kb in $1; do
        printf '%s\n' "R$kb join" "W$kb join" "W$kb say R$kb 1000 20000" "W$kb stuck" \
            "R$kb sip ${kb}000"
    done
    echo 'log did not read for 1 s'
}

# Every recipient that is dropped had a full outbox.
dropped_when_full() {
    local lost
    for lost in $(sed -n 's/.*: did not read for 1 s\(; lost: \([0-9]*\) bytes to it.*\)*$/x\2/p' "$CHAT_LOG"); do
        echo "lost: $lost"
        [ "${lost#x}" -ge 30000 ] || return 1
    done
}

@test "19 parked-though-there-is-room: the sender of a recipient that is dropped had filled its outbox" {
    start_chat hurried -k 0
    { readers_that_stop '100 140 180 220 260 300 340 380'
      echo 'log 8 did not read for 1 s'
    } | play
    dropped_when_full
    stop_chat
    # With the router, one after the other.
    for kb in 120 260 400; do
        start_chat hurried -k 0 -a router
        readers_that_stop $kb | play
        dropped_when_full
        stop_chat
    done
}

# User 2's last messages still wait when user 1 has read all others.
# So nothing but these messages can wake the server.
@test "when a parked sender continues, its messages are delivered at once" {
    with_both <<'END'
R rcvbuf 4096
R join
F join
F say R 60000 20
log user 2 waits for
F silent 500
clock
R expect said F 60000 20
# A retry or a deadline would be noticed: nobody else is heard, nothing else is sent.
clock 0 3000
R silent 300
END
}

# ---- Answers in the order of the questions

# in_order LINES: of one client's frames, in one read; `notices` tells of user 7
in_order() {
    with_both <<END
A join Sec-WebSocket-Protocol: notices
A expect notice you are user 1
A cork
$(cat)
END
}

@test "a message to itself is answered before the Close behind it" {
    in_order <<'END'
A text {"recipient_id":1,"message":"me"}
A frame op=close code=1000
A uncork
A expect text {"sender_id":1,"message":"me"}
A expect close 1000
A expect eof
END
}

@test "a message to an unknown id gets its notice before the Close behind it" {
    in_order <<'END'
A text {"recipient_id":7,"message":"anybody?"}
A frame op=close code=1000
A uncork
A expect notice user 7 is not connected
A expect close 1000
A expect eof
END
}

@test "a message to itself comes before the notice about a later mistake" {
    in_order <<'END'
A text {"recipient_id":1,"message":"me"}
A text no JSON
A text {"recipient_id":7,"message":"anybody?"}
A frame op=ping "p"
A text {"recipient_id":1,"message":"me too"}
A uncork
A expect text {"sender_id":1,"message":"me"}
A expect notice not delivered: byte 1
A expect notice user 7 is not connected
A expect pong "p"
A expect text {"sender_id":1,"message":"me too"}
A quiet
END
}

@test "a message to itself comes before the Close for a breach behind it" {
    in_order <<'END'
A text {"recipient_id":1,"message":"me"}
A frame mask=0 "x"
A uncork
A expect text {"sender_id":1,"message":"me"}
A expect close 1002
A expect eof
END
}

@test "fifty messages to itself, to unknown ids and bad ones are answered in order, then the Close" {
    local i
    { for i in {1..50}; do
          printf '%s\n' "A text {\"recipient_id\":1,\"message\":\"$i\"}" "A text $i" \
              "A text {\"recipient_id\":$((i + 100)),\"message\":\"$i\"}"
      done
      printf '%s\n' 'A frame op=close code=1000' 'A uncork'
      for i in {1..50}; do
          printf '%s\n' "A expect text {\"sender_id\":1,\"message\":\"$i\"}" \
              'A expect notice not delivered: byte 1' "A expect notice user $((i + 100)) is not connected"
      done
      printf '%s\n' 'A expect close 1000' 'A expect eof'
    } | in_order
}

@test "directory: a message to an id that joins while its sender waits goes to the new user, behind the messages that wait for it" {
    start_chat
    play <<'END'
A rcvbuf 4096
A join Sec-WebSocket-Protocol: notices
B join
B say A 60000 20
log waits for room at user 1
A say 3 60000
C rcvbuf 4096
C join
D join
D say C 60000 20
A expect notice you are user 1
A expect said B 60000 20
C expect said D,A 0 21
C quiet
E join
E say E 20
E expect said E 20
END
}
