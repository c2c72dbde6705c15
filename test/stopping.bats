#!/usr/bin/env bats
# How the server stops: it sends a Close to every user, and logs every lost message.

bats_require_minimum_version 1.7.0
load helper

@test "on SIGTERM and SIGINT the server sends Close 1001 to every user, and exits with 0" {
    for signal in TERM INT; do
        start_chat
        play <<END
A join
B join
H connect
H send "GET / HT"
A text {"recipient_id":2,"message":"last words"}
A quiet
signal $signal
B expect text {"sender_id":1,"message":"last words"}
B expect close 1001 stopping
B frame op=close code=1001
B expect eof
A expect close 1001 stopping
A expect eof
H expect end
A close
B close
END
        await_end
        logged "user 1 left: the server is stopping"
    done
}

@test "forty users that all get a message in the same turn all get Close 1001, too" {
    start_chat
    { printf 'U%d join\n' {1..40}
      echo "signal STOP"
      printf 'U%d say U%d 100\n' {1..40}{,}
      echo "signal CONT"
      printf 'U%d expect said U%d 100\n' {1..40}{,}
      echo "signal TERM"
      printf 'U%d expect close 1001\n' {1..40}
    } | play
    await_end
}

@test "router: a client that waits to join a stopping server gets 503" {
    start_chat -a router
    play <<END
$(stuffed)
N upgrade
A connect
A send "GET / HTTP/1.1\r\n\r\n"
A expect http 400
signal TERM
N expect http 503
N expect eof
END
    await_end
    logged ": 503: the server is stopping"
    run ! logged "user 3"
}

@test "a stopping server accepts no client and delivers no more messages" {
    start_chat
    play <<'END'
A join
B join
signal TERM
A expect close 1001
A text {"recipient_id":2,"message":"too late"}
B expect close 1001
C refused
B expect eof
END
    await_end
}

@test "a client that neither reads nor answers cannot keep the server from stopping" {
    start_chat
    play <<END
$(stuffed)
clock
signal TERM
run for i in \$(seq 100); do kill -0 \$CHAT_PID 2>/dev/null || exit 0; sleep 0.05; done; exit 1
clock 0 4900
log user 1 left: the server is stopping
log user 2 left: the server is stopping
log bytes from it that waited are lost
log user 1: the server stopped; lost:
END
    await_end
}

@test "directory: when the server stops, a parked message is delivered if its recipient has room again" {
    start_chat
    play <<END
$(stuffed 'C join')
C say R 20
log user 3 waits for
# The server is stopped meanwhile, so it sees the signal and the room in one poll().
signal STOP
R sip 100000
signal TERM
signal CONT
R expect end
END
    await_end
    logged 'user 3 -> user 1: "'
}

@test "router: when the server stops, it logs each message in the queue as lost" {
    start_chat -a router
    play <<END
$(stuffed)
signal TERM
log 10 lost, the server is stopping
log bytes from it that waited are lost
END
    await_end
}

# decided COUNT: the log shows what became of so many messages of user 2 to user 1
decided() {
    [ "$(grep -cE '^(user 2 -> user 1: "|the router waits for room at user 1)' "$CHAT_LOG")" -ge "$1" ]
}

@test "router: when the server stops, it delivers the messages in the queue whose recipients have room" {
    local count=0
    start_chat -a router
    { printf '%s\n' 'R rcvbuf 4096' 'R join' 'F join' 'C join'
      until logged 'the router waits'; do
          echo 'F say R 60000'
          eventually decided $((++count)) || break
      done
      cat <<'END'
F say C 20 3
# So the server has read them.
F quiet
no log user 2 -> user 3
signal TERM
C expect said F 20 3
C expect close 1001
F expect close 1001
END
    } | play
    await_end
    [ "$(grep -c '^user 2 -> user 3: "' "$CHAT_LOG")" -eq 3 ]
    [ "$(grep -c '^! user 2 -> user 1: lost, the server is stopping: "' "$CHAT_LOG")" -eq 1 ]
}

@test "a second signal ends the server at once" {
    start_chat
    play <<END
$(stuffed)
signal TERM
log stopping
signal TERM
END
    local status=0
    await_end || status=$?
    [ "$status" -eq 1 ]
    # It ended before it could log the lost bytes.
    run ! logged "the server stopped"
}
