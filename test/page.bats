#!/usr/bin/env bats
# The page that curl and a browser get from the server.

bats_require_minimum_version 1.7.0
load helper

@test "the 426 page explains the server, and what to type in a terminal and in a browser" {
    start_chat
    play <<'END'
A connect
A send "GET / HTTP/1.1\r\nHost: localhost:8099\r\n\r\n"
A expect http 426
A expect body chat, a WebSocket server
A expect body websocat ws://localhost:8099
A expect body {"recipient_id":1,"message":"hi"}
A expect body curl -i -N --output - --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket'
A expect body http://localhost:8099
A expect body new WebSocket('ws://' + location.host)
A expect eof
END
}

@test "the 426 page lists the users online" {
    start_chat
    play <<'END'
A connect
A send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
A expect http 426
A expect body Online: 0
B join
C join
D join
C close
log user 2 left
E connect
E send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
E expect http 426
E expect body Online: 2, users 1 3
END
}

@test "the 426 page lists the first 100 users, and the number of all" {
    start_chat
    {
        printf 'U%d join\n' {1..130}
        # Two of the first 100 leave, so the list shows two later users.
        printf '%s\n' 'U1 close' 'U50 close' 'log user 1 left' 'log user 50 left'
        cat <<END
A connect
A send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
A expect http 426
A expect body Online: 128, users $(echo {2..49} {51..102}) ...
A expect eof
END
    } | play
}

@test "the 426 page shows at most 256 characters of Host" {
    start_chat
    play <<END
A connect
A send "GET / HTTP/1.1\r\nHost: $(printf 'x%.0s' {1..300})\r\n\r\n"
A expect http 426
A expect body   websocat ws://$(printf 'x%.0s' {1..256})
A expect no body $(printf 'x%.0s' {1..257})
END
}

@test "HEAD gets the same headers as GET, and no body" {
    local get head
    start_chat
    get=$(answer 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    head=$(answer 'HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    starts_with "$head" "HTTP/1.1 426 "
    [ "$(content_length "$head")" -gt 100 ]
    # ($(...) removes the newline at the end.)
    [ "$head" = "${get%%$'\r\n\r\n'*}"$'\r\n\r' ]
}
