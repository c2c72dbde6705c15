#!/usr/bin/env bats
# The promise to whoever finds no room: to wait, in turn, and to lose nothing.
#
# Almost all of it holds for both approaches, so that a script is played with each.

bats_require_minimum_version 1.5.0
load helper

set -o pipefail

# with_both [hurried] [COMMAND] < SCRIPT: plays it with each approach, and then runs the
# command, which looks into the log.
with_both() {
    local script approach binary=()
    if [ "${1-}" = hurried ]; then
        binary=(hurried)
        shift
    fi
    script=$(cat)
    for approach in directory router; do
        echo "--- with -a $approach"
        start_chat "${binary[@]}" -a "$approach"
        play <<<"$script"
        "$@"
        stop_chat
    done
}

# Users 1 to 5: R does not read, F floods it, and waits.  C, D and E are there; E, user 5,
# speaks `notices`.
stuffed() {
    cat <<'END'
R rcvbuf 4096
R join
F join
C join
D join
E join Sec-WebSocket-Protocol: notices
E expect notice you are user 5
F say R 60000 20
log user 2 waits for
END
}

# ---- Once, and in order

@test "a recipient that pauses and then reads on gets everything once and in order, big and small" {
    with_both <<END
$(stuffed)
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

@test "a recipient that is slower than everybody gets everything" {
    with_both <<END
$(stuffed)
C say R 1000 200
$(printf 'R sip %d\n' {1..9}000 {10000..90000..10000})
R expect said F,C 0 220
R quiet
F quiet
C quiet
END
}

@test "whoever writes to itself without reading is parked, and then gets it all" {
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

@test "fifty frames in one segment to a full recipient all arrive, with nothing sent after them" {
    with_both <<END
$(stuffed)
C cork
C say R 100 50
C uncork
log user 3 waits for
R expect said F,C 0 70
R quiet
END
}

@test "a frame that was cut when its sender was parked goes on where it was cut" {
    with_both <<END
$(stuffed)
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

# The users whose messages went to user 1, in this order.
order_of() {
    sed -n "s/^user \([$1]\) -> user 1: \".*/\1/p" "$CHAT_LOG" | tr -d '\n'
}

served_in_the_order_of_arrival() {
    [ "$(order_of 345)" = 435435 ]
}

@test "who waits for the same recipient is served in the order of arrival, big or small" {
    with_both served_in_the_order_of_arrival <<END
$(stuffed)
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

# share_of_sixteen COMMAND COUNT: COMMAND prints what S1 to S16 say to R, each more than R
# reads of it.  F makes them all wait; once it is through, they share COUNT messages.
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

@test "sixteen senders to one recipient get the same share" {
    with_both <<<"$(share_of_sixteen all_say_small 24000)"
}

@test "of sixteen senders, the one with big messages among small ones gets the same share" {
    with_both <<<"$(share_of_sixteen one_says_big 4800)"
}

@test "sixteen senders, each of big and small messages, get the same share" {
    with_both <<<"$(share_of_sixteen all_say_both 8000)"
}

# ---- The room for one reply

# repeat N LINE: the line, so many times.
repeat() {
    printf "$2\n%.0s" $(seq "$1")
}

@test "pings without end from a client that does not read are all answered, in order" {
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

@test "mistakes without end from a client that does not read all get their notices" {
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

@test "messages to nobody from a client that does not read all get their notices" {
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

@test "a sender that closes, ends or vanishes while it waits has not spoken in vain" {
    with_both <<END
$(stuffed)
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

@test "directory: who vanishes while it waits keeps nobody waiting, and is heard to the end" {
    start_chat
    play <<END
$(stuffed)
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

# Every message of users 2, 3 and 5 is in the log, delivered or not.
all_is_accounted_for() {
    [ "$(grep -c '^user [235] -> user 1: ' "$CHAT_LOG")" -eq 24 ]
}

# recipient_leaves COMMAND: in this way.  Their deadline, 10 s, is out of reach here.
recipient_leaves() {
    with_both all_is_accounted_for <<END
$(stuffed)
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

@test "if a recipient closes, those who wait for it are told and go on" {
    recipient_leaves 'R frame op=close code=1000'
}

@test "if the input of a recipient ends, those who wait for it are told and go on" {
    recipient_leaves 'R shutdown'
}

@test "if a recipient vanishes, those who wait for it are told and go on" {
    recipient_leaves 'R reset'
}

@test "if a recipient breaks the protocol, those who wait for it are told and go on" {
    recipient_leaves 'R frame op=15 "x"'
}

# ---- The deadline, here of 1 s
#
# `clock` starts before what starts the deadline: whatever this machine does meanwhile, it
# cannot show too little.

# How many messages user 2 took before somebody had to wait.
taken_without_waiting() {
    sed '/ waits for /q' "$CHAT_LOG" | grep -c '^user 1 -> user 2: "'
}

@test "a recipient that does not read is dropped only if somebody waits for it" {
    start_chat hurried
    {
        cat <<'END'
F join
X rcvbuf 4096
X join
R rcvbuf 4096
R join
F say X 1000 1000
log user 1 waits for room at user 2
X expect said F 1000 1000
END
        eventually logged user 1 waits for room at user 2
        # The next ones would be the first to wait.
        echo "F say R 1000 $(($(taken_without_waiting) - 30))"
        cat <<'END'
# The kernel finds room for a little more, once.
F silent 200
F say R 1000
F silent 1100
F quiet
no log user 3 left
clock
F say R 1000 1000
log user 1 waits for room at user 3
log user 3 left: did not read for 1 s
clock 990 9000
F quiet
X quiet
END
    } | play
}

# Two wait, so that somebody does all the time.
@test "any byte that a recipient takes gives it a whole deadline more" {
    start_chat hurried
    play <<END
$(stuffed)
C say R 60000 20
log user 3 waits for
C silent 300
clock
R sip 200000
log user 1 left: did not read for 1 s
clock 990 9000
F quiet
C quiet
END
}

@test "who keeps itself waiting, by messages or pings, is dropped after the deadline as well" {
    start_chat hurried -a router
    play <<END
A rcvbuf 4096
A join
B rcvbuf 4096
B join
C join
A say A 60000 20
log the router waits for room at user 1
B cork
$(repeat 5000 'B frame op=ping repeat=100 "x"')
B uncork
log user 1 left: did not read for 1 s
log user 2 left: did not read for 1 s
C say C 20
C expect said C 20
END
}

@test "directory: who is dropped while it waits for another is missed by nobody" {
    start_chat hurried
    play <<'END'
R rcvbuf 4096
R join
C rcvbuf 4096
C join
D join
C say R 60000 20
log user 2 waits for room at user 1
D say C 60000 20
log user 3 waits for room at user 2
D silent 500
# That gives R time until C has been dropped.  Then nobody waits for it.
R sip 200000
log user 2 left: did not read for 1 s
D quiet
E join
E silent 1500
no log user 1 left
R expect said C 60000 4
D say E 20
E expect said D 20
END
    run ! grep '^user 2 left: .* 0 from it' "$CHAT_LOG"
}
