#!/usr/bin/env bats
# Each message arrives once, unchanged, in order, and only at the user with that id.

bats_require_minimum_version 1.7.0
load helper

# ---- From user to user

@test "two users send each other messages, exactly as the article shows them" {
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
    logged 'user 1 -> user 2: "Go Braves!"'
}

@test "a message to a user arrives even if it is sent right after the user's 101" {
    start_chat
    local i
    { echo "A join"
      for i in {2..60}; do
        echo "B$i join"
        echo "A text {\"recipient_id\":$i,\"message\":\"welcome $i\"}"
        echo "B$i expect text {\"sender_id\":1,\"message\":\"welcome $i\"}"
      done
    } | play
}

@test "a message to yourself arrives" {
    start_chat
    play <<'END'
A join
A text {"recipient_id":1,"message":"note to self"}
A expect text {"sender_id":1,"message":"note to self"}
A quiet
END
}

@test "a message to an unknown id is logged and not delivered, and its sender stays connected" {
    start_chat
    play <<'END'
A join
A text {"recipient_id":7,"message":"x"}
A text {"recipient_id":0,"message":"x"}
A text {"recipient_id":-1,"message":"x"}
A text {"recipient_id":-0,"message":"x"}
A text {"recipient_id":9223372036854775807,"message":"x"}
A text {"recipient_id":-9223372036854775808,"message":"x"}
A text {"recipient_id":4097,"message":"the same hash as 1"}
A quiet
log user 1 -> user 7: not delivered: user 7 is not connected
log user 1 -> user 0: not delivered
log user 1 -> user -1: not delivered
log user 1 -> user 9223372036854775807: not delivered
log user 1 -> user -9223372036854775808: not delivered
log user 1 -> user 4097: not delivered
END
}

@test "the text of a message arrives byte for byte, with its escapes" {
    start_chat
    play <<'END'
A join
B join
A text {"recipient_id":2,"message":"\"\\\/\b\f\n\r\t\u00e9\u00E9\ud83d\ude00 \ud800 é 😀 </script>"}
B expect text {"sender_id":1,"message":"\"\\\/\b\f\n\r\t\u00e9\u00E9\ud83d\ude00 \ud800 é 😀 </script>"}
A text {"recipient_id":2,"message":""}
B expect text {"sender_id":1,"message":""}
END
}

@test "a message may have its members in any order, white space, and unknown members" {
    start_chat
    play <<'END'
A join
B join
A text  { "x" : [ 1 , { "message" : "no" } ] , "message" : "yes" , "recipient_id" : 2 } 
B expect text {"sender_id":1,"message":"yes"}
A text {"recipient_id":1,"message":"first","recipient_id":2,"message":"last"}
B expect text {"sender_id":1,"message":"last"}
A text {"\u0072ecipient_id":2,"m\u0065ssage":"keys are compared unescaped"}
B expect text {"sender_id":1,"message":"keys are compared unescaped"}
A quiet
END
}

@test "the largest message arrives, in one frame and in fragments" {
    start_chat
    # The limit is 65536 bytes of JSON, and {"recipient_id":2,"message":""} has 31.
    play <<'END'
A join
B join
A say B 65505
B expect said A 65505
A frame fin=0 "{\"recipient_id\":2,\"message\":\"00000002"
A quiet
A frame op=cont fin=1 "\"}"
B expect text {"sender_id":1,"message":"00000002"}
END
}

@test "a binary message is read like a text message, and delivered as one" {
    start_chat
    play <<'END'
A join
B join
A binary {"recipient_id":2,"message":"bits"}
B expect text {"sender_id":1,"message":"bits"}
A quiet
END
}

# ---- In pieces and segments

@test "the server understands a request and frames that arrive byte by byte" {
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

@test "a big message arrives whole, even if it is sent and received in small pieces" {
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

@test "many frames in one segment are all handled, in order" {
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

@test "frames in the same segment as the request are handled when the user has joined" {
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

@test "an unfinished frame does not stop other messages" {
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

# ---- From a user that was silent

# talk N [,USER]: A and B exchange 2 N messages without a pause.  In one round, B may
# get USER's message in place of A's.  After it, B is one of A's messages behind.
talk() {
    printf "A say B 8\nB expect said A${2-} 8\nB say A 8\nA expect said B 8\n%.0s" $(seq "$1")
}

# If the server has heard USER in that time, B is one message behind at the end.  So the
# order in which B gets its messages decides, and no clock.
is_heard() {
    echo "$1 say B 8"
    talk 1500 ",$1"
    echo "B expect said A 8"
}

@test "a silent user among 300 is heard while two others chat without a pause" {
    start_chat
    {
        printf 'U%d join\n' {1..300}
        printf '%s join\n' A B
        talk 500
        is_heard U1
        is_heard U150
        is_heard U250
    } | play
}

# ---- Ids

@test "users get ids from 1 in the order of their handshakes, not of their connections" {
    start_chat
    play <<'END'
A connect
B connect
C join
C expect id 1
B join
B expect id 2
A join
A expect id 3
END
}

@test "no message reaches a user that left, and its id is not given to another user" {
    start_chat
    play <<'END'
A join
B join
B frame op=close code=1000
B expect close 1000
B expect eof
B close
A text {"recipient_id":2,"message":"too late"}
A quiet
C join
C expect id 3
log user 1 -> user 2: not delivered: user 2 is not connected
C quiet
END
}

@test "an id is never used twice, and a refused request uses up no id" {
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

@test "users whose ids share a hash bucket get only their own messages" {
    start_chat -q
    { printf 'A join\nB join\n'
      for ((id = 3; id <= 4096; id++)); do printf 'X join\nX reset\n'; done
      cat <<'END'
# Ids 1 and 4097 share a bucket, and so do 2 and 4098.
A2 join
A2 expect id 4097
B2 join Sec-WebSocket-Protocol: notices
B2 expect notice you are user 4098
A text {"recipient_id":4097,"message":"to A2"}
A2 expect text {"sender_id":1,"message":"to A2"}
A2 text {"recipient_id":1,"message":"to A"}
A expect text {"sender_id":4097,"message":"to A"}
# The older user of one bucket leaves, then the newer user of the other.  Each is gone
# when the next user has joined.
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

# ---- Notices and extensions

@test "a client that offers notices gets the subprotocol, and a notice of its id first" {
    start_chat
    play <<'END'
A join Sec-WebSocket-Protocol: soap, notices
A expect header Sec-WebSocket-Protocol: notices
A expect text {"sender_id":0,"message":"you are user 1"}
A text {"recipient_id":7,"message":"x"}
A expect text {"sender_id":0,"message":"user 7 is not connected"}
A quiet
END
}

@test "a client that does not offer notices gets only messages" {
    start_chat
    play <<'END'
A join
A expect no header Sec-WebSocket-Protocol
A quiet
B join Sec-WebSocket-Protocol: soap
B expect no header Sec-WebSocket-Protocol
A text {"recipient_id":7,"message":"x"}
A quiet
B quiet
END
}

@test "in both approaches, only a client with notices hears that a recipient is not connected" {
    local approach
    for approach in directory router; do
        start_chat -a "$approach"
        play <<'END'
A join Sec-WebSocket-Protocol: notices
A expect header Sec-WebSocket-Protocol: notices
A expect notice you are user 1
B join
B expect no header Sec-WebSocket-Protocol
A say 7 20
A expect text {"sender_id":0,"message":"user 7 is not connected"}
A say -1 20
A expect text {"sender_id":0,"message":"user -1 is not connected"}
B say 8 20
log user 2 -> user 8: not delivered: user 8 is not connected
B quiet
A quiet
A say B 20
B expect said A 20
END
        stop_chat
    done
}

@test "the server accepts no extension" {
    start_chat
    play <<'END'
A join Sec-WebSocket-Extensions: permessage-deflate
A expect no header Sec-WebSocket-Extensions
A quiet
END
}
