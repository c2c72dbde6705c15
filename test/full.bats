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
no log : 408
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
log ! user 1 left: got Close 1002
E connect
E expect http 503
A quiet
B quiet
END
}

# ---- Many at once

# burst REQUEST STATUSES COUNT: lines of a script: so many clients send this request while the
# server stands still, and each gets one of the two answers
burst() {
    local i
    echo 'patience 20'
    echo 'signal STOP'
    for ((i = 1; i <= $3; i++)); do
        printf 'X%d %s\n' $i connect $i "$1" $i sent
    done
    echo 'signal CONT'
    for ((i = 1; i <= $3; i++)); do
        printf 'X%d expect http %s\n' $i "$2"
    done
}

GET='send "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"'

@test "25 whole-requests-evicted: twelve requests at once are all answered" {
    start_chat tiny
    burst "$GET" 426 12 | play
}

@test "twelve plain requests at once all get the text, though three of the four slots have users" {
    start_chat tiny
    { printf '%s join\n' A B C
      burst "$GET" 426 12
      echo 'D join'
    } | play
}

@test "25 whole-requests-evicted: twelve handshakes at once are all answered, and four get in" {
    start_chat tiny
    { burst upgrade '101|503' 12
      echo 'run [ "$(grep -c " joined from " "$CHAT_LOG")" -eq 4 ]'
    } | play
}

@test "25 whole-requests-evicted: of sixty handshakes at once with 24 free places, 24 get in and 36 hear 503" {
    ulimit -Sn "$(ulimit -Hn)"
    [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 1200 ] || skip "the hard limit of descriptors is low"
    start_chat
    { printf 'U%d join\n' {1..1000}
      burst upgrade '101|503' 60
      echo 'run [ "$(grep -c " joined from " "$CHAT_LOG")" -eq 1024 ]'
      # The same once more, with no place free and the 36 still there.
      burst upgrade '503|503' 60 | sed 's/^X/Y/'
      echo 'U1 quiet'
      echo 'U1000 quiet'
    } | play
}

@test "a burst of requests among half-open connections: each whole one is answered" {
    start_chat tiny
    { printf 'H%d connect\nH%d send "GET / HT"\n' {1..4}{,}
      burst "$GET" 426 40
    } | play
}

# start_patient [OPTION...]: a server with 4 slots, and with the real deadlines
start_patient() {
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
    make -C "$BATS_TEST_TMPDIR" CFLAGS=-O1 CLIENTS=4
    ROOT=$BATS_TEST_TMPDIR start_chat "$@"
}

@test "a user that got the server's Close and stays connected is evicted for a newcomer" {
    # It may linger for 5 s.
    start_patient
    { four_users
      echo 'clock'
      echo 'D frame op=3'
      echo 'D expect close 1002'
      echo 'E join'
      echo 'clock 0 4500'
      echo 'A quiet'
    } | play
    run ! logged "closed to make room"          # the log has said why it left
}

@test "a connection that has its 503 and stays connected is evicted for the next one" {
    # Each of the 40 may linger for 5 s, and there are 16 spare places.
    start_patient
    { four_users
      echo clock
      for i in {1..40}; do echo "X$i connect"; echo "X$i expect http 503"; done
      echo 'clock 0 4500'
      echo 'A quiet'
    } | play
}

@test "router: a plain GET is answered while the router waits and users that have left take slots" {
    start_chat tiny -a router
    play <<END
$(stuffed 'C join' 'D join')
C reset
D frame op=close
D close
N1 upgrade
N2 upgrade
G connect
G send "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"
G expect http 426|503
R expect said F 60000 20
R quiet
F quiet
END
}

@test "router: a plain GET is answered while new clients wait to join and all slots are taken" {
    start_chat tiny -a router
    { stuffed 'C join' 'D join'
      # What C says keeps it in line behind F, so that it is heard to the end only later.
      printf '%s\n' 'C say R 60000 20' 'D say R 60000 20' 'log user 3 waits' 'log user 4 waits'
      for i in {1..20}; do printf '%s\n' "N$i upgrade" "N$i sent"; done
      printf '%s\n' 'C reset' 'D reset'
      cat <<'END'
G connect
G send "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"
G expect http 426|503
END
    } | play
}

# While the router waits, nobody's slot becomes free: not C's, which vanished, nor D's, which
# got a Close and stays connected.  To evict D would help nobody.
@test "router: while the router waits, a user that lingers is not evicted, and all requests get 503" {
    start_patient -a router
    { stuffed 'C join' 'D join'
      cat <<'END'
C reset
D frame mask=0 "x"
D expect close 1002
D expect eof
clock
END
      for i in {1..40}; do
          printf '%s\n' "G$i connect" "G$i $GET" "G$i expect http 503"
      done
      cat <<'END'
# If D were closed, the first of these would cause a reset, and the second could not be sent.
D frame op=pong
run sleep 0.1
D frame op=pong
D sent
clock 0 4500
R expect said F 60000 20
R quiet
F quiet
END
    } | play
}

# The server stands still, so that they are gone by the time that it accepts them.
@test "the log shows a client's address, even if the client resets before it is accepted" {
    start_chat
    play <<'END'
signal STOP
A upgrade
A sent
A reset
B connect
B send "BREW / HTTP/1.1\r\n\r\n"
B sent
B reset
signal CONT
C join
C quiet
no log someone
END
    run ! grep -v -e '^user [0-9]* joined from 127\.0\.0\.1:' -e '^! 127\.0\.0\.1:' -e '^user [0-9]* left' \
        -e '^chat: room for ' "$CHAT_LOG"
}

@test "the log shows a client's address, even if the client resets after its request" {
    start_chat tiny
    play <<'END'
Z join
A connect
B connect
Z quiet
signal STOP
A upgrade
A sent
A reset
B send "BREW / HTTP/1.1\r\n\r\n"
B sent
B reset
signal CONT
log user 2 joined from 127.0.0.1:
log : 405:
no log someone
END
}

# ---- Descriptors

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
    # LeakSanitizer would need descriptors of its own.
    run -1 within 10 env ASAN_OPTIONS=detect_leaks=0 \
        bash -c 'exec 3>&- 4>&- 5>&- 6>&-; ulimit -n 7; exec "$0" -l 127.0.0.1 -p 0' "$ROOT/chat"
    # Without descriptors, what gcc puts in for make coverage complains.
    output=$(printf '%s\n' "$output" | grep -v '^profiling:')
    [ "$(printf '%s\n' "$output" | grep -c .)" -eq 1 ]
    starts_with "$output" "chat: a limit of 7 descriptors is too low"
}

@test "when file descriptors run out, the server still answers 503, and its users chat as before" {
    need prlimit
    start_chat -l 127.0.0.1
    play <<'END'
A join
B join
run prlimit --nofile=7:$(ulimit -Hn) --pid "$CHAT_PID"
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
