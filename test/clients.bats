#!/usr/bin/env bats
# The real clients, as a class would use them: curl, websocat, wscat, Python's websockets, Node.

bats_require_minimum_version 1.7.0
load helper

setup() {
    CHAT_PID=
    clients=()
    export no_proxy='*'         # whatever this user has for the web
}

teardown() {
    for pid in "${clients[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    tail -n 100 "$BATS_TEST_TMPDIR"/*.out "$BATS_TEST_TMPDIR"/*.err 2>/dev/null || true
    stop_and_show_log
}

# handshake [CURL-OPTION...]: curl sends the handshake of a WebSocket client
handshake() {
    curl -sS -i -N --http1.1 --max-time 10 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
        -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$@" \
        "http://localhost:$PORT"
}

# chat_by NAME FD COMMAND...: a student at a terminal, who types into FD and sees what
# the client COMMAND prints, in NAME.out
chat_by() {
    local name=$1 fd=$2
    shift 2
    mkfifo "$BATS_TEST_TMPDIR/$name.in"
    "$@" <"$BATS_TEST_TMPDIR/$name.in" \
        >"$BATS_TEST_TMPDIR/$name.out" 2>"$BATS_TEST_TMPDIR/$name.err" 3>&- 5>&- 6>&- &
    clients+=($!)
    eval "exec $fd>\"\$BATS_TEST_TMPDIR/\$name.in\""
    eventually logged "user ${#clients[@]} joined"
}

# chat_as NAME FD [WEBSOCAT-OPTION...]
chat_as() {
    chat_by "$1" "$2" websocat "${@:3}" "ws://localhost:$PORT"
}

# sees NAME LINE: waits until this whole line is on NAME's screen
sees() {
    eventually grep -qxF -- "$2" "$BATS_TEST_TMPDIR/$1.out"
}

# shows NAME TEXT: before long NAME has seen it, perhaps within a line, and coloured
shows() {
    eventually grep -qF -- "$2" "$BATS_TEST_TMPDIR/$1.out"
}

@test "curl gets a text with instructions and the users online" {
    need curl
    start_chat
    run -0 curl -sS -i "localhost:$PORT"
    starts_with "${lines[0]}" "HTTP/1.1 426 Upgrade Required"
    contains "$output" "websocat ws://localhost:$PORT"
    contains "$output" "curl -i -N"
    contains "$output" "curl --no-progress-meter -N -T . ws://localhost:$PORT"
    contains "$output" "http://localhost:$PORT"
    contains "$output" "Online: 0"
    run -0 curl -sS -I "localhost:$PORT/any/path"
    starts_with "${lines[0]}" "HTTP/1.1 426 Upgrade Required"
    lacks "$output" websocat
}

@test "a handshake by curl gives the accept key of the RFC's example" {
    need curl
    start_chat
    run -28 handshake --max-time 2      # 28: it would have listened on
    contains "$output" "HTTP/1.1 101 Switching Protocols" \
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" "Chat-User-Id: 1"
}

@test "openssl computes the same accept key" {
    need openssl
    run -0 bash -c "printf '%s' dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11 |
                    openssl sha1 -binary | base64"
    [ "$output" = s3pPLMBiTxaQ9kYGzzhZRbK+xOo= ]
}

@test "in a curl session, a message arrives as the bytes of its frame" {
    need curl
    start_chat
    handshake -o "$BATS_TEST_TMPDIR/curl.out" 3>&- &
    clients+=($!)
    eventually logged "user 1 joined"
    play <<'END'
A join
A text {"recipient_id":1,"message":"hi"}
A quiet
END
    eventually grep -q '"hi"}' "$BATS_TEST_TMPDIR/curl.out"
    # byte 0: FIN and text; byte 1: no mask, 30 bytes; then the JSON
    [ "$(tail -c 32 "$BATS_TEST_TMPDIR/curl.out" | od -An -tx1 -N2 | tr -d ' \n')" = 811e ]
    [ "$(tail -c 30 "$BATS_TEST_TMPDIR/curl.out")" = '{"sender_id":2,"message":"hi"}' ]
}

@test "curl with a wrong version or a foreign Origin gets an answer with the reason" {
    need curl
    start_chat
    run -0 curl -sS -i -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 8' \
        -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "http://localhost:$PORT"
    contains "$output" "426 Upgrade Required" "Sec-WebSocket-Version: 13" "13 wanted; it was: 8"
    run -0 handshake -H 'Origin: http://evil.example'
    contains "$output" "403 Forbidden" "http://evil.example may not connect"
}

@test "two students chat with websocat in both directions" {
    need websocat
    start_chat
    chat_as ann 5
    chat_as bob 6
    echo '{"recipient_id":2,"message":"Go Braves!"}' >&5
    sees bob '{"sender_id":1,"message":"Go Braves!"}'
    echo '{"recipient_id":1,"message":"hi Ann"}' >&6
    sees ann '{"sender_id":2,"message":"hi Ann"}'
    [ "$(cat "$BATS_TEST_TMPDIR/ann.out")" = '{"sender_id":2,"message":"hi Ann"}' ]
}

@test "websocat --protocol notices shows your own id, and notices about unknown recipients" {
    need websocat
    start_chat
    chat_as ann 5 --protocol notices
    sees ann '{"sender_id":0,"message":"you are user 1"}'
    echo '{"recipient_id":7,"message":"anyone?"}' >&5
    sees ann '{"sender_id":0,"message":"user 7 is not connected"}'
}

@test "a typo in the JSON gets a notice with the byte, and the next line works" {
    need websocat
    start_chat
    chat_as ann 5
    echo '{"recipient_id":"1","message":"hi"}' >&5
    sees ann '{"sender_id":0,"message":"not delivered: byte 17: recipient_id must be an integer"}'
    echo '{"recipient_id":1,"message":"hi"}' >&5
    sees ann '{"sender_id":1,"message":"hi"}'
}

@test "the article's message pasted as four lines gets four notices" {
    need websocat
    start_chat
    chat_as ann 5
    printf '{\n  "recipient_id": 1,\n  "message": "Go Braves!"\n}\n' >&5
    eventually eval '[ "$(wc -l <"$BATS_TEST_TMPDIR/ann.out")" -eq 4 ]'
    # websocat sends the line break, too: "{" and LF are 2 bytes.
    [ "$(head -n 1 "$BATS_TEST_TMPDIR/ann.out")" = \
        '{"sender_id":0,"message":"not delivered: byte 3: the text ends too early; a message is one line"}' ]
}

@test "when websocat's input ends, it sends a Close" {
    need websocat
    start_chat
    chat_as ann 5
    exec 5>&-
    wait "${clients[0]}"
    eventually logged "user 1 left: it closed the connection"
}

@test "when the server stops, it closes websocat's connection and ends" {
    need websocat
    start_chat
    chat_as ann 5
    stop_chat
    logged "user 1 left: the server is stopping"
}

@test "wscat shows notices of mistakes, and the code and reason of the server's Close" {
    need wscat
    need_script
    start_chat
    # It says these things to a terminal only.
    chat_by ann 5 script -qec "wscat -c ws://localhost:$PORT -s notices" /dev/null
    shows ann '< {"sender_id":0,"message":"you are user 1"}'
    echo '{"recipient_id":7,"message":"anyone?"}' >&5
    shows ann '< {"sender_id":0,"message":"user 7 is not connected"}'
    echo '{"recipient_id":"7","message":"anyone?"}' >&5
    shows ann '< {"sender_id":0,"message":"not delivered: byte 17: recipient_id must be an integer"}'
    stop_chat
    shows ann 'Disconnected (code: 1001, reason: "the server is stopping")'
}

@test "Python's websockets shows notices of mistakes, and the code and reason of the server's Close" {
    need websockets
    websockets --version >/dev/null 2>&1 || skip "websockets does not run: its Python is not there for this user"
    start_chat
    chat_by ann 5 websockets "ws://localhost:$PORT"
    echo '{"recipient_id":1,"message":"hi me"}' >&5
    shows ann '< {"sender_id":1,"message":"hi me"}'
    echo '{"recipient_id":"7","message":"anyone?"}' >&5
    shows ann '< {"sender_id":0,"message":"not delivered: byte 17: recipient_id must be an integer"}'
    stop_chat
    shows ann 'Connection closed: 1001 (going away) the server is stopping.'
}

@test "Node's WebSocket chats in four lines, and gets the code and reason of the server's Close" {
    need node
    node --experimental-websocket -e 'new WebSocket("ws://localhost:1").onerror = () => {}' 2>/dev/null ||
        skip "this node has no WebSocket"
    start_chat
    chat_by ann 5 node --experimental-websocket -e "
        const ws = new WebSocket('ws://localhost:$PORT', 'notices');
        ws.onmessage = event => console.log(event.data);
        ws.onclose = event => { console.log(event.code, event.reason); process.exit(); };
        process.stdin.on('data', line => ws.send(String(line)));"
    sees ann '{"sender_id":0,"message":"you are user 1"}'
    echo '{"recipient_id":"7","message":"anyone?"}' >&5
    sees ann '{"sender_id":0,"message":"not delivered: byte 17: recipient_id must be an integer"}'
    stop_chat
    sees ann '1001 the server is stopping'
}

@test "curl 8.20 or newer chats, and prints the reason of the server's Close" {
    local major minor
    need curl
    IFS=. read -r major minor _ <<<"$(curl --version | sed -n 's/^curl \([0-9.]*\).*/\1/p')"
    [ "${major:-0}" -gt 8 ] || { [ "${major:-0}" -eq 8 ] && [ "$minor" -ge 20 ]; } ||
        skip "curl is older than 8.20"
    start_chat
    chat_by ann 5 curl --no-progress-meter -N -T . "ws://localhost:$PORT"
    echo '{"recipient_id":1,"message":"hi me"}' >&5
    shows ann '{"sender_id":1,"message":"hi me"}'
    stop_chat
    eventually grep -qF 'the server is stopping' "$BATS_TEST_TMPDIR/ann.out" "$BATS_TEST_TMPDIR/ann.err"
}

@test "the log names a TLS client, and curl says that the port does not speak TLS" {
    need curl
    start_chat
    run -35 curl -sS "https://localhost:$PORT"
    logged "400: use http:// and ws://, not https:// and wss://"
}

@test "websocat without a scheme asks for one" {
    need websocat
    run -1 websocat localhost:8080
    contains "$output" "Specify ws:// or wss:// URI"
}
