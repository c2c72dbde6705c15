#!/usr/bin/env bats
# How a connection comes to life, and the ways in which it ends.

bats_require_minimum_version 1.7.0
load helper

# play_stuffed: a script that goes on where user 1, R, does not read, its outbox is full,
# and user 2, F, waits there with twenty big messages, some delivered, some not.
play_stuffed() {
    { stuffed; cat; } | play
}

stuffed() {
    cat <<'END'
R rcvbuf 4096
R join
F join
F say R 60000 20
log user 2 waits for room at user 1
END
}

# ---- Pieces and segments

@test "a request and frames that come byte by byte are understood" {
    start_chat
    play <<'END'
A connect
A pieces 1
A join
B join
A text {"recipient_id":2,"message":"in crumbs"}
B expect text {"sender_id":1,"message":"in crumbs"}
A frame fin=0 "{\"recipient_id\":1,"
A frame op=ping "between"
A frame op=cont "\"message\":\"a second course\"}"
A expect pong "between"
A expect text {"sender_id":1,"message":"a second course"}
A frame op=close code=1000
A expect close 1000
A expect eof
B quiet
END
}

@test "a big message that comes and goes in small parts arrives whole" {
    start_chat
    play <<'END'
B rcvbuf 4096
B join
A join
A sndbuf 4096
A pieces 1000
A say B 65000 2
A pieces 0
A say B 65000 10
B sip 10
B expect said A 65000 12
A quiet
B quiet
END
}

@test "many frames in one segment are all answered, in order" {
    start_chat
    {
        echo "A join"
        echo "B join"
        echo "A cork"
        for i in {1..200}; do
            echo "A say B 10"
            echo "A frame op=ping \"$i\""
        done
        echo "A uncork"
        echo "B expect said A 10 200"
        for i in {1..200}; do
            echo "A expect pong \"$i\""
        done
        echo "A quiet"
        echo "B quiet"
    } | play
}

@test "frames in the same segment as the request are read once the user is in" {
    for approach in directory router; do
        start_chat -a "$approach"
        play <<'END'
B join
A connect
A cork
A upgrade
A text {"recipient_id":1,"message":"early"}
A text {"recipient_id":2,"message":"to myself"}
A frame op=ping "also early"
A uncork
A expect welcome
A expect id 2
B expect text {"sender_id":2,"message":"early"}
B quiet
C connect
C cork
C upgrade
C frame op=close code=1001
C uncork
C expect welcome
C expect close 1001
C expect eof
END
        stop_chat
    done
}

@test "a frame that is never finished holds up nobody" {
    start_chat
    play <<'END'
A join
B join
C join
A frame size=60000 "{\"recipient_id\":2,"
B text {"recipient_id":1,"message":"are you there?"}
A expect text {"sender_id":2,"message":"are you there?"}
B text {"recipient_id":3,"message":"no answer"}
C expect text {"sender_id":2,"message":"no answer"}
A reset
log user 1 left
B quiet
C quiet
END
}

# ---- Half-open and silent peers

@test "who connects and says nothing is let go without a word" {
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

@test "who begins a request and does not end it gets 408" {
    start_chat hurried
    play <<'END'
B join
A connect
A send "G"
A expect http 408
A expect eof
B quiet
C join
C expect id 2
END
}

# A byte a millisecond: the request takes longer than the 600 ms that it may.
@test "a request that trickles in gets 408, however busy it looks" {
    start_chat hurried
    play <<END
A connect
A pieces 1
A upgrade X-Padding: $(printf '%0900d' 0)
A expect http 408
A expect eof
END
}

@test "a silent user is pinged, then hung up on; whoever shows any life stays" {
    start_chat -k 1
    play <<'END'
# Silent is mute and gets nothing; Listener is mute and gets a message; Byte sends
# a byte, which is not even a frame; Ponger does what a client should.
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
log user 1 left: silent for 2 s
Listener answers
Listener frame op=pong
Ponger text {"recipient_id":2,"message":"and now?"}
Listener expect text {"sender_id":4,"message":"and now?"}
Byte answers
Byte hex 8000000000
Byte expect pong ""
no log user 2 left
no log user 3 left
no log user 4 left
END
}

@test "whoever shows life after a ping is pinged once more before it is hung up on" {
    start_chat -k 1
    play <<'END'
# Neither answers; Writer only writes, Reader only reads.
Reader join
Writer join
Reader expect ping
Writer expect ping
Writer say Reader 20
Reader expect said Writer 20
Reader expect ping
Writer expect ping
END
}

@test "a ping is no sign of life of whoever it is sent to" {
    start_chat -k 1
    play <<'END'
Silent join
Alive join Sec-WebSocket-Protocol: notices
Alive expect notice you are user 2
Silent expect ping
Alive expect ping
# By the time that Alive is pinged again, Silent has been so for two seconds and a half.
Alive silent 500
Alive frame op=pong
Alive expect ping
Alive say Silent 20
Alive expect notice user 1 is not connected
END
}

@test "a client that is parked is not taken for silent, nor at once when it goes on" {
    start_chat -k 1
    play_stuffed <<'END'
A join
A say R 1000
log user 3 waits for room at user 1
# One that falls silent later than A shows how long is too long.
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

@test "-k 0 neither pings nor hangs up" {
    start_chat -k 0
    play <<'END'
A join
A silent 300
A quiet
END
}

# ---- Peers that vanish

@test "who vanishes is gone for the others, who go on" {
    start_chat
    play <<'END'
A join
B join Sec-WebSocket-Protocol: notices
B expect notice you are user 2
A reset
log user 1 left
B text {"recipient_id":1,"message":"hello?"}
B expect notice user 1 is not connected
B quiet
END
}

# The server sleeps while user 1 writes and goes, so that it finds both at once.
@test "what a user sent just before it vanished is still delivered" {
    start_chat
    play <<'END'
A join
B join
signal STOP
A say B 100 300
A sent
A reset
signal CONT
B expect said 1 100 300
log user 1 left
B quiet
END
}

# User 3 vanishes while it waits to be read; the write that user 4 causes then fails.
# (Behind an end of input such a write also raises SIGPIPE.)
@test "a user to whom a write fails is heard to the end of what it sent" {
    start_chat
    play_stuffed <<'END'
A join
B join
A say R 1000 3
log user 3 waits for room at user 1
A text {"recipient_id":4,"message":"farewell"}
A shutdown
A reset
B text {"recipient_id":3,"message":"come back"}
log user 3 left
B quiet
B text {"recipient_id":3,"message":"come back!"}
log user 4 -> user 3: not delivered: user 3 is not connected
R expect said 2,3 0 23
B expect text {"sender_id":3,"message":"farewell"}
B quiet
# Some bytes to it were lost, but none from it.
run ! grep "user 3.*lost.* [1-9][0-9]* from it" "$CHAT_LOG"
END
}

@test "whoever waits for a user that vanishes goes on" {
    for approach in directory router; do
        start_chat -a "$approach"
        play <<'END'
R rcvbuf 4096
R join
F join
A join Sec-WebSocket-Protocol: notices
A expect notice you are user 3
F say R 60000 20
log waits for room at user 1
A text {"recipient_id":1,"message":"me too"}
A text {"recipient_id":2,"message":"and you?"}
R reset
A expect notice user 1 is not connected
F expect text {"sender_id":3,"message":"and you?"}
A quiet
F quiet
END
        stop_chat
    done
}

# ---- End of input without a Close

@test "who only ends its input still gets all the answers" {
    start_chat
    play <<'END'
A connect
A cork
A upgrade
A frame op=ping "one"
A text {"recipient_id":1,"message":"two"}
A text three
A uncork
A shutdown
A expect welcome
A expect pong "one"
A expect text {"sender_id":1,"message":"two"}
A expect notice not delivered: byte 1
A expect eof
log user 1 left: end of input
B join
B text {"recipient_id":1,"message":"four"}
B quiet
END
}

@test "who ends its input and reads late gets even what was parked" {
    start_chat
    play <<'END'
A rcvbuf 4096
A join
A say A 8000 45
log user 1 waits for room at user 1
A shutdown
A expect said A 8000 45
A expect eof
END
}

# ---- Close from either side

@test "a Close comes back with its code, and then the connection ends" {
    start_chat
    for code in 1000 1001 3000 4999; do
        play <<END
A join
A frame op=close code=$code "farewell"
A expect close $code
A expect eof
log it sent Close $code farewell
END
    done
    play <<'END'
A join
A frame op=close
A expect close empty
A expect eof
log user 5 left: it sent Close
END
}

@test "what a user sent before its Close counts, what it sends behind it does not" {
    start_chat
    play <<'END'
A join
B join
A cork
A text {"recipient_id":2,"message":"before"}
A frame op=ping "before"
A frame op=close code=1000
A text {"recipient_id":2,"message":"behind"}
A frame op=ping "behind"
A frame op=close code=1001
A uncork
A text {"recipient_id":2,"message":"far behind"}
A expect pong "before"
A expect close 1000
A expect eof
B expect text {"sender_id":1,"message":"before"}
B quiet
B text {"recipient_id":1,"message":"too late"}
log user 2 -> user 1: not delivered: user 1 is not connected
END
}

@test "a Close waits its turn behind the messages that are parked" {
    start_chat
    play_stuffed <<'END'
A join
A cork
A say R 100 50
A frame op=close code=1000
A uncork
log user 3 waits for room at user 1
R expect said F,A 0 70
A expect close 1000
A expect eof
END
}

@test "when the server closes, its Close is the last that comes, and nothing counts any more" {
    start_chat
    play <<'END'
A join
B join
A cork
A frame op=ping "before"
A frame mask=0 "not masked"
A frame op=ping "behind"
A text {"recipient_id":2,"message":"behind"}
A uncork
A text {"recipient_id":2,"message":"far behind"}
A expect pong "before"
A expect close 1002
A expect eof
A text {"recipient_id":2,"message":"farther still"}
A frame op=close code=1002
A sent
log user 1 left: we sent Close 1002
B quiet
END
}

# ---- A reason is not lost to a reset

@test "the reason of a refusal arrives though a megabyte lies behind the request" {
    start_chat
    play <<'END'
A connect
A cork
A send "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n"
A frame repeat=1000000 "x"
A uncork
A sent
A expect http 405
A expect eof
B upgrade Sec-WebSocket-Key: short
B frame repeat=1000000 "x"
B sent
B expect http 400
B expect body Sec-WebSocket-Key
B expect eof
C join
C quiet
END
}

@test "the reason of a Close arrives though a megabyte lies behind the breach" {
    start_chat
    play <<'END'
A join
A cork
A frame rsv=4 "compressed?"
A frame repeat=1000000 "x"
A uncork
A sent
A expect close 1002
A expect eof
B join
B frame size=1000000 repeat=1000000 "x"
B sent
B expect close 1009
B expect eof
END
}

# ---- Deadlines on the way out

# The last line fails, and has to: only the server's giving up can make it.
@test "who goes on sending after our Close is cut off" {
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
    [[ $output == *"A sent"*"a write that failed"* ]]
    play <<'END'
B join
B quiet
END
}

@test "who never takes its Close is cut off, and the log says what was lost" {
    start_chat hurried
    play <<'END'
A rcvbuf 4096
A join
B join
B say A 60000 10
log user 2 waits for room at user 1
A frame mask=0 "x"
log user 1 left: we sent Close 1002
B quiet
log user 1: did not close in time; lost: 
A expect end
B quiet
END
}

@test "who ends its input and takes nothing is cut off, and the log says what was lost" {
    start_chat hurried
    play <<'END'
A rcvbuf 4096
A join
B join
B say A 60000 10
log user 2 waits for room at user 1
A shutdown
log user 1 left: end of input
B quiet
log user 1: did not close in time; lost: 
A expect end
B quiet
END
}

# ---- Ids

@test "an id is never used twice, and a refused request uses up none" {
    for approach in directory router; do
        start_chat -a "$approach"
        play <<'END'
A upgrade Sec-WebSocket-Version: 8
A expect http 426
B upgrade Origin: http://example.com
B expect http 403
C connect
C send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
C expect http 426
D connect
D send "GET / HT"
D reset
E join
E expect id 1
E frame op=close
E expect close empty
F join
F expect id 2
F reset
log user 2 left
G join
G expect id 3
G shutdown
G expect eof
H join
H expect id 4
H text {"recipient_id":1,"message":"who is it?"}
H quiet
END
        stop_chat
    done
}

@test "users whose ids share a bucket of the table are told apart, whoever leaves first" {
    start_chat -q
    { printf 'A join\nB join\n'
      for ((id = 3; id <= 4096; id++)); do printf 'X join\nX reset\n'; done
      cat <<'END'
# 1 and 4097 share one, 2 and 4098 another.
A2 join
A2 expect id 4097
B2 join Sec-WebSocket-Protocol: notices
B2 expect notice you are user 4098
A text {"recipient_id":4097,"message":"to A2"}
A2 expect text {"sender_id":1,"message":"to A2"}
A2 text {"recipient_id":1,"message":"to A"}
A expect text {"sender_id":4097,"message":"to A"}
# The first that came leaves, and the last: they are gone once the next one is in.
A close
C join
B2 text {"recipient_id":1,"message":"gone"}
B2 expect notice user 1 is not connected
B2 text {"recipient_id":4097,"message":"still here"}
A2 expect text {"sender_id":4098,"message":"still here"}
B2 close
D join
D text {"recipient_id":2,"message":"still here"}
B expect text {"sender_id":4100,"message":"still here"}
END
    } | play
}
