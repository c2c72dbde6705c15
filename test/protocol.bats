#!/usr/bin/env bats
# What users see of each other.

bats_require_minimum_version 1.7.0
load helper

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

@test "ids count from 1 in the order of handshakes, whatever the order of connections" {
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

@test "a message that is sent to a user the moment it sees its 101 arrives" {
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

@test "a message to oneself comes back" {
    start_chat
    play <<'END'
A join
A text {"recipient_id":1,"message":"note to self"}
A expect text {"sender_id":1,"message":"note to self"}
A quiet
END
}

@test "a message to nobody is dropped and logged, and its sender stays" {
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

@test "a user who left is nobody, and its id is not given to another" {
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

@test "what was sent is what arrives, byte for byte, escapes included" {
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

@test "members in any order, unknown ones and white space make no difference" {
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
    # 65536 bytes of JSON: 31 are around the text, {"recipient_id":2,"message":""}
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

@test "a binary message is read like a text, and goes out as a text" {
    start_chat
    play <<'END'
A join
B join
A binary {"recipient_id":2,"message":"bits"}
B expect text {"sender_id":1,"message":"bits"}
A quiet
END
}

@test "who asks for notices gets the subprotocol, and is told its id first of all" {
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

@test "who does not ask for notices sees messages and nothing else" {
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

@test "an extension that is offered is not taken" {
    start_chat
    play <<'END'
A join Sec-WebSocket-Extensions: permessage-deflate
A expect no header Sec-WebSocket-Extensions
A quiet
END
}
