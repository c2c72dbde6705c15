#!/usr/bin/env bats
# How long the server waits for a request, a recipient, a sign of life, or an end.
#
# The first two tests have the real deadlines.  All others use the hurried server, or -k.

bats_require_minimum_version 1.7.0
load helper

set -o pipefail

@test "a request and a recipient that others wait for have 10 seconds each" {
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

# leaves: R, which has a lot to read, breaks the protocol.  Before that, the kernel has taken all
# that it can.
leaves() {
    stuffed
    cat <<'END'
F silent 400
clock
R frame mask=0 "x"
log ! user 1 left: got Close 1002
END
}

@test "a client that leaves and takes nothing has 5 seconds" {
    start_chat
    { leaves
      cat <<'END'
patience 9
log user 1: did not close in time; lost: 
clock 4900 9000
END
    } | play
}

# ---- For a request

@test "a client that sends nothing is closed without a response" {
    start_chat hurried
    play <<'END'
B join
clock
A connect
A expect eof
clock 600 9000
B quiet
END
}

@test "a client that sends half a request gets 408" {
    start_chat hurried
    play <<'END'
B join
A connect
A send "G"
A expect http 408
A expect header Connection: close
A expect body in time
A expect eof
B quiet
C join
C expect id 2
END
}

# One byte a millisecond: the request needs more than its 600 ms.
@test "a request that arrives too slowly gets 408, even if its bytes never stop" {
    start_chat hurried
    play <<END
A connect
A pieces 1
A upgrade X-Padding: $(printf '%0900d' 0)
A expect http 408
A expect eof
END
}

# ---- For a recipient, here 1 s
#
# `clock` starts before the command that starts the deadline.  So even on a slow
# machine, it never shows less time than the deadline took.

# Prints how many messages to user 2 were delivered before a sender had to wait.
taken_without_waiting() {
    sed '/ waits for /q' "$CHAT_LOG" | grep -c '^user 1 -> user 2: "'
}

@test "a recipient that does not read is dropped only if a sender waits for it" {
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
        # Thirty messages fewer: nearly the first for which the sender would wait.
        echo "F say R 1000 $(($(taken_without_waiting) - 30))"
        cat <<'END'
# The kernel may make a little more room, once.
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

# There are two senders, so that at every moment at least one of them is parked.
@test "when a recipient reads a byte, its deadline starts again" {
    start_chat hurried
    play <<END
$(stuffed 'C join')
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

@test "a client that does not read its own messages or pongs is dropped at the deadline, too" {
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

@test "directory: a parked sender can be dropped, too, and then its recipient has no deadline" {
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
# R reads a little, so its deadline starts again and C is dropped first.  After that, no
# sender waits for R.
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

# ---- For a sign of life, here 1 s and 1 s

@test "a silent user is pinged and then dropped, unless it sends a byte" {
    start_chat -k 1
    play <<'END'
# Silent sends nothing.  Listener sends nothing, but gets a message.  Byte sends one
# byte of a frame.  Ponger answers each ping, as a client should.
Silent join
Listener join
Byte join
Ponger join
Silent expect ping
Listener expect ping
Byte expect ping
Ponger expect ping
Byte hex 89
Ponger answers
Ponger frame op=pong
Ponger text {"recipient_id":2,"message":"still there?"}
Listener expect text {"sender_id":4,"message":"still there?"}
Silent expect eof
Listener expect eof
log user 1 left: silent for 2 s
log user 2 left: silent for 2 s
Byte answers
Byte hex 8000000000
Byte expect pong ""
no log user 3 left
no log user 4 left
END
}

@test "a user that sends something after a ping gets another ping before it is dropped" {
    start_chat -k 1
    play <<'END'
Writer join
Writer expect ping
Writer say Writer 20
Writer expect said Writer 20
Writer expect ping
END
}

@test "the server's ping to a user does not count as a sign of life from that user" {
    start_chat -k 1
    play <<'END'
Silent join
Alive join Sec-WebSocket-Protocol: notices
Alive expect notice you are user 2
Silent expect ping
Alive expect ping
# When Alive gets its second ping, Silent has been silent for 2.3 s.
Alive silent 300
Alive frame op=pong
Alive expect ping
Alive say Silent 20
Alive expect notice user 1 is not connected
END
}

# A peer that vanished: its kernel takes what comes, and nobody is there.  The others write to
# it for more than twice as long as it may be silent.
@test "a silent user is dropped even if others write to it all the time" {
    start_chat -k 1
    play <<END
Gone join
Writer join
$(repeat 60 'Writer say Gone 20
Writer silent 80')
run grep -q '^user 1 left: silent for 2 s' "\$CHAT_LOG"
Writer quiet
END
}

@test "a silent user whose outbox is full is dropped like any other silent user" {
    start_chat -k 1
    play <<'END'
R rcvbuf 4096
R join
F join
F say R 60000 20
log user 2 waits for room at user 1
log user 1 left: silent for 2 s
F quiet
END
}

@test "a user that only reads and answers pings is not dropped" {
    start_chat -k 1
    play <<END
Reader join
Reader answers
Writer join
$(repeat 60 'Writer say Reader 20
Reader expect said Writer 20
Writer silent 60')
no log silent
Reader quiet
END
}

@test "a parked client is not dropped as silent, not even when it continues" {
    start_chat -k 1
    play <<END
$(stuffed)
A join
A say R 1000
log user 3 waits for room at user 1
# Silent falls silent later than A.  When Silent is dropped, A has been parked longer
# than the deadline.
Silent join
Silent expect ping
R frame op=pong
Silent expect eof
R answers
R expect said F,A 0 21
A answers
A quiet
F answers
F quiet
END
}

@test "with -k 0, the server neither pings nor drops silent users" {
    start_chat -k 0
    play <<'END'
A join
A silent 300
A quiet
END
}

# ---- For an end

# The last line of the script must fail, because the server resets the connection.
@test "a client that goes on sending after the server's Close is cut off" {
    start_chat hurried
    run -1 play <<'END'
A join
A frame mask=0 "x"
A expect close 1002
A expect eof
A pieces 1
A frame repeat=10000 "x"
A sent
END
    contains "$output" "A sent" "a write that failed"
    play <<'END'
B join
B quiet
END
}

# takes_nothing COMMAND WORDS: A ends its connection by this command, and the log shows
# WORDS.  A never reads, and the server still has bytes for it.
takes_nothing() {
    start_chat hurried
    play <<END
A rcvbuf 4096
A join
B join
B say A 60000 10
log user 2 waits for room at user 1
A $1
log user 1 left: $2
B quiet
log user 1: did not close in time; lost: 
A expect end
B quiet
END
}

@test "a client that never reads the server's Close is cut off, and the log names the lost bytes" {
    takes_nothing 'frame mask=0 "x"' 'got Close 1002'
}

@test "a client that ends its input and does not read is cut off, and the log names the lost bytes" {
    takes_nothing shutdown 'end of input'
}

# trickle COUNT [BYTES]: R reads 10,000 bytes, or so many, COUNT times, 0.1 s apart
trickle() {
    repeat "$1" "R sip ${2-10000}
run sleep 0.1"
}

@test "a client that leaves and takes a byte now and then has 1 s in all" {
    start_chat hurried
    { leaves
      trickle 6
      cat <<'END'
log user 1: did not close in time; lost: 
clock 990 9000
END
    } | play
    stop_chat
    start_chat hurried
    { leaves
      # It never rests for half a second, and has not read all by the end.
      trickle 25 5000
      echo 'run grep "^user 1: did not close in time; lost: " "$CHAT_LOG"'
    } | play
}
