#!/usr/bin/env bats
# Too few slots or descriptors: which clients may join, are evicted, or get 503.

bats_require_minimum_version 1.7.0
load helper

# Users 1 to 4 take all slots of the tiny server.
four_users() {
    printf '%s join\n' A B C D
}

# ---- Full

@test "a full server answers 503 to new clients, and its users chat as before" {
    start_chat tiny
    play <<END
$(four_users)
E connect
E expect http 503
E expect header Connection: close
E expect body all places are taken
E expect eof
A text {"recipient_id":4,"message":"still here"}
D expect text {"sender_id":1,"message":"still here"}
F connect
F expect http 503
# E is still connected, but in a reserved slot.  Its eviction would not help F.
no log made room
END
}

@test "a free slot takes one new client, and the next one gets 503" {
    start_chat tiny
    play <<END
$(four_users)
E connect
E expect http 503
D frame op=close
D expect close empty
D expect eof
D close
log user 4 left
F join
F expect id 5
G connect
G expect http 503
A quiet
F quiet
END
}

@test "half-open connections keep no client out: the server evicts the oldest" {
    start_chat tiny
    play <<'END'
U join
# `U quiet` waits until the server has accepted the last connection.
H1 connect
H1 send "GET / HTTP/1.1\r\n"
U quiet
H2 connect
U quiet
H3 connect
U quiet
A join
H1 expect end
# H1 was evicted.  A request at its deadline would have got a 408.
no log 408
B join
H2 expect end
A text {"recipient_id":3,"message":"we are in"}
B expect text {"sender_id":2,"message":"we are in"}
END
}

@test "with -q, the eviction of half-open connections is not logged" {
    start_chat tiny -q
    play <<'END'
H1 connect
H2 connect
H3 connect
H4 connect
A join
H1 expect end
END
    stop_chat
    [ ! -s "$CHAT_LOG" ]
}

@test "the server never evicts users" {
    start_chat tiny
    { for i in {1..4}; do echo "U$i join"; done
      for i in {1..40}; do echo "X$i connect"; echo "X$i expect http 503"; echo "X$i close"; done
      for i in {1..4}; do echo "U$i quiet"; done
    } | play
}

@test "new clients all get their 503, even more of them than there are spare slots" {
    start_chat tiny
    { echo "patience 20"
      for i in {1..4}; do echo "U$i join"; done
      for i in {1..40}; do echo "X$i connect"; done
      for i in {1..40}; do echo "X$i expect http 503"; echo "X$i close"; done
      echo "U1 quiet"
    } | play
}

@test "seventy clients that connect at once can all join" {
    start_chat
    # The server is stopped, so that all connections wait in the kernel's queue.
    { echo "signal STOP"
      printf 'U%d connect\n' {1..70}
      echo "signal CONT"
      printf 'U%d upgrade\nU%d expect welcome\n' {1..70}{,}
    } | play
}

@test "a client that read the server's Close and stays connected is evicted for a new one" {
    start_chat tiny
    play <<END
$(four_users)
D frame op=close code=1000
D expect close 1000
E join
D expect end
E expect id 5
E quiet
A quiet
END
    run ! logged "made room"
}

@test "a client that has not yet read the server's Close is not evicted" {
    start_chat tiny
    play <<END
$(stuffed 'A join' 'B join')
R frame op=3
log user 1 left: we sent Close 1002
E connect
E expect http 503
A quiet
B quiet
END
}

# ---- Descriptors

@test "with few file descriptors, the server has fewer slots and says so in one line" {
    ulimit -n 80
    start_chat hurried
    logged "chat: room for "
    [ "$(wc -l <"$CHAT_LOG")" -eq 1 ]
    local room
    room=$(sed 's/chat: room for \([0-9]*\) clients, not 1024.*/\1/' "$CHAT_LOG")
    [ "$room" -gt 10 ]
    # peer has descriptors of its own to spare
    { for ((i = 1; i <= room; i++)); do echo "U$i join"; done
      # A descriptor in reserve serves to answer each of the others.
      for ((i = 1; i <= 3; i++)); do printf 'X%d connect\nX%d expect http 503\n' $i $i; done
      echo "no log cannot accept"
      echo "U1 quiet"
    } | play
}

@test "with a high hard limit, the server raises its limit of file descriptors and has all slots" {
    [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -gt 1100 ] || skip "the hard limit is low"
    ulimit -Sn 80
    start_chat hurried
    [ ! -s "$CHAT_LOG" ]
    # peer has descriptors of its own to spare
    ulimit -Sn 1000
    { printf 'U%d join\n' {1..100}
      echo "U100 quiet"
    } | play
}

@test "with too few file descriptors for a client, the server prints one line and exits with 1" {
    run -1 bash -c "exec 3>&- 4>&- 5>&- 6>&- 7>&-; ulimit -n 8; '$ROOT/chat' -p 0"
    [[ ${#lines[@]} -eq 1 && $output == "chat: a limit of 8 descriptors is too low"* ]]
}

@test "when file descriptors run out, the server still answers 503, and its users chat as before" {
    need prlimit
    start_chat
    play <<'END'
A join
B join
run prlimit --nofile=8:$(ulimit -Hn) --pid "$CHAT_PID"
C connect
C expect http 503
D connect
D expect http 503
A text {"recipient_id":2,"message":"we talk on"}
B expect text {"sender_id":1,"message":"we talk on"}
no log cannot accept
run prlimit --nofile=1000:$(ulimit -Hn) --pid "$CHAT_PID"
E join
E quiet
END
}
