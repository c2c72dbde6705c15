#!/usr/bin/env bats
# What the server answers to a plain GET: a text that explains it to programs, and to a browser
# the page with which it chats.  (browsers.bats has the page in real browsers.)

bats_require_minimum_version 1.7.0
load helper

@test "the 426 text explains the server, what to type in a terminal, and what to open in a browser" {
    start_chat
    play <<'END'
A connect
A send "GET / HTTP/1.1\r\nHost: localhost:8099\r\n\r\n"
A expect http 426
A expect body chat, a WebSocket server
A expect body websocat ws://localhost:8099
A expect body {"recipient_id":1,"message":"hi"}
A expect body curl --no-progress-meter -N -T . ws://localhost:8099
A expect body curl -i -N --output - --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket'
A expect body In a browser, also on a phone, open:
A expect body http://localhost:8099
A expect no body WebSocket(
A expect eof
END
}

@test "the 426 text lists the users online" {
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

@test "the 426 text lists the first 100 users, and the number of all" {
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

# shown_as HOST SHOWN: the 426 text for this Host says what to open, and where to connect
shown_as() {
    local text
    text=$(answer "GET / HTTP/1.1\r\nHost: $1\r\n\r\n")
    starts_with "$text" "HTTP/1.1 426 "
    grep -qxF "  http://$2" <<<"$text" && grep -qxF "  websocat ws://$2" <<<"$text" || {
        echo "with Host: $1: $text"
        return 1
    }
}

@test "the 426 text shows the server's address instead of a Host that is long, or that a shell would run" {
    local long
    long=$(printf 'x%.0s' {1..121})
    start_chat -l 127.0.0.1
    shown_as pc.local:8080 pc.local:8080
    shown_as "${long:1}" "${long:1}"
    shown_as "$long" "127.0.0.1:$PORT"
    shown_as 'x;id' "127.0.0.1:$PORT"
    shown_as 'x$(id)' "127.0.0.1:$PORT"
    shown_as '' "127.0.0.1:$PORT"
}

# accepts VERDICT LINE: an Accept header line, and the status that it gets
accepts() {
    play <<END || { echo "with: $2"; return 1; }
A connect
A send "GET /any/path HTTP/1.1\r\nHost: localhost\r\n$2\r\n\r\n"
A expect http $1
A expect eof
END
}

@test "a browser, which accepts text/html, gets the page, and a program gets the 426 text" {
    start_chat
    accepts 200 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
    accepts 200 'accept: image/png , TEXT/HTML ; q=0.9'
    accepts 200 'Accept: image/png\r\nAccept: text/html'
    accepts 426 'Accept: */*'
    accepts 426 'Accept: text/*'
    accepts 426 'Accept: text/htmlx, text/htm, xtext/html, text'
    accepts 426 'Accept: text/plain;x=text/html'
    accepts 426 'Accept: image/avif,image/webp,*/*'
    accepts 426 'Accept: text/html;q=0, text/plain'
    accepts 426 'Accept:'
    accepts 426 'X-Accept: text/html'
}

@test "the page is HTML that must not be cached, and it lists the users online" {
    start_chat
    play <<END
U1 join
U2 join
A connect
A send "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
A expect http 200
A expect header Content-Type: text/html; charset=utf-8
A expect header Cache-Control: no-store
A expect header Vary: Accept
A expect header Connection: close
A expect body <!doctype html>
A expect body <span id=online>2, users 1 2</span>
A expect body </script>
A expect eof
END
}

# The second may have changed between two answers.
undated() {
    sed '/^Date: /d' <<<"$1"
}

@test "HEAD gets the same headers as GET, and no body" {
    local get head
    start_chat
    get=$(answer 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    head=$(answer 'HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    starts_with "$head" "HTTP/1.1 426 "
    [ "$(content_length "$head")" -gt 100 ]
    # ($(...) removes the newline at the end.)
    [ "$(undated "$head")" = "$(undated "${get%%$'\r\n\r\n'*}"$'\r\n\r')" ]
}

@test "HEAD gets no body of the page, either" {
    local get head
    start_chat
    get=$(answer 'GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n')
    head=$(answer 'HEAD / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n')
    starts_with "$head" "HTTP/1.1 200 OK"
    [ "$(content_length "$head")" -gt 3000 ]
    [ "$(undated "$head")" = "$(undated "${get%%$'\r\n\r\n'*}"$'\r\n\r')" ]
}

# opened VERDICT HOST: "page", or the words of a page which says that it can't connect
opened() {
    local body
    body=$(answer "GET / HTTP/1.1\r\nHost: $2\r\nAccept: text/html\r\n\r\n")
    case $1 in
        page) [[ $body == *"<script>"* ]] ;;
        *) [[ $body == "HTTP/1.1 200 OK"*"$1"* ]] && [[ $body != *"<script"* ]] ;;
    esac || {
        echo "with Host: $2: $body"
        return 1
    }
}

@test "if the page is opened under a name that is not allowed, it says what to do instead" {
    start_chat -l 127.0.0.1 -o https://tls.example
    opened page localhost:8080
    opened page 127.0.0.1:8080
    opened page '[::1]:8080'
    opened page 192.168.1.7
    opened page tls.example             # behind a proxy that adds TLS
    opened "<a href='http://127.0.0.1:$PORT/'>http://127.0.0.1:$PORT</a>" pc.local:8080
    opened "chat -o 'http://pc.local:8080'" pc.local:8080
    logged "a page that says to open http://127.0.0.1:$PORT or to start chat -o 'http://pc.local:8080'"
    opened "chat -o '*'" "x'\$(reboot)&lt;.example"
    opened "chat -o '*'" "$(printf 'x%.0s' {1..300})"
    opened "chat -o '*'" ''
}

@test "with -o, the page works under each name that -o accepts" {
    start_chat -o '*'
    opened page pc.local:8080
    stop_chat
    start_chat -o http://pc.local:8080
    opened page PC.local:8080
    opened "chat -o 'http://pc.local:8081'" pc.local:8081
}

# advice HOST: the origin that the page under this name says to start the server with
advice() {
    local body
    body=$(answer "GET / HTTP/1.1\r\nHost: $1\r\nAccept: text/html\r\n\r\n")
    starts_with "$body" "HTTP/1.1 200 OK" >&2
    sed -n "s/.*<code>chat -o '\(.*\)'<\/code>.*/\1/p" <<<"$body"
}

# host LENGTH: a host name of so many bytes
host() {
    local name
    name=$(printf 'x%.0s' {1..130}).example
    echo "${name:$((${#name} - $1))}"
}

# The log and the answers show 120 bytes of an origin.
@test "the advice on the page under a name works as it stands, however long the name is" {
    local length origin name
    for length in 20 112 113 114 115 116 117 118 119 120 121 130; do
        name=$(host $length)
        start_chat
        origin=$(advice "$name")
        logged "or to start chat -o '$origin'"
        stop_chat
        [ "$origin" = "http://$name" ] || [ "$origin" = '*' ] || {
            echo "for a name of $length bytes the page says -o '$origin'"
            return 1
        }
        [ "$length" -gt 112 ] || [ "$origin" != '*' ]
        start_chat -o "$origin"
        opened page "$name"
        play <<END
A upgrade Host: $name | Origin: http://$name
A expect welcome
END
        stop_chat
    done
}
