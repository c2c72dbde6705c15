#!/usr/bin/env bats
# Bad input: the client gets an answer with the reason, and other users chat as before.

bats_require_minimum_version 1.7.0
load helper

# Plays the script from standard input while users 1 and 2 are connected.  They chat at
# the end, to show that the script did not disturb them.
among_users() {
    {
        printf '%s\n' 'X join' 'Y join'
        cat
        cat <<'END'
X text {"recipient_id":2,"message":"Still there?"}
Y expect text {"sender_id":1,"message":"Still there?"}
Y text {"recipient_id":1,"message":"Sure."}
X expect text {"sender_id":2,"message":"Sure."}
X quiet
Y quiet
END
    } | play
}

# The functions below print parts of scripts.

# notices: reads lines "WORDS < MESSAGE".  For each, A sends MESSAGE and gets a notice
# with WORDS in it.  A stays connected.
notices() {
    local line
    echo 'A join'
    while IFS= read -r line; do
        printf '%s\n' "A text ${line#* < }" "A expect notice not delivered: ${line%% < *}"
    done
    echo 'A quiet'
}

# closes CODE WORDS COMMAND...: a client that plays these commands gets Close CODE with
# WORDS in it, and the server closes the connection.
closes() {
    local code=$1 words=$2
    shift 2
    printf '%s\n' 'A join' "${@/#/A }" "A expect close $code $words" 'A expect eof' 'A close'
}

# refused STATUS WORDS COMMAND [PART...]: a client that plays COMMAND gets a whole
# answer of this STATUS, with WORDS in its body, and the server closes the connection.
# The answer also has each PART: "body WORDS" or "header NAME: VALUE".
refused() {
    local connection='close'
    if [ "$1" = 426 ]; then
        connection='Upgrade, close'
    fi
    cat <<END
A connect
A $3
A expect http $1
A expect header Connection: $connection
A expect header Content-Type: text/plain; charset=utf-8
A expect body $2
A expect eof
END
    if [ $# -gt 3 ]; then
        printf 'A expect %s\n' "${@:4}"
    fi
    echo 'A close'
}

# no_id_used: after the refusals, the next user is user 3.
no_id_used() {
    printf '%s\n' 'Z join' 'Z expect id 3'
}

# filler N: prints N letters
filler() {
    printf '%*s' "$1" '' | tr ' ' x
}

# ---- Messages that break the protocol: notices ---------------------------------------

@test "a message with missing or wrong members gets a notice with the byte and the reason" {
    start_chat
    notices <<'END' | among_users
byte 1: a message looks like {\"recipient_id\":2,\"message\":\"hi\"} < hello
byte 1: a message looks like < ["recipient_id",2,"message","hi"]
byte 2: recipient_id is missing < {}
byte 15: recipient_id is missing < {"message":"x"}
byte 18: message is missing < {"recipient_id":2}
byte 17: recipient_id must be an integer < {"recipient_id":"2","message":"x"}
byte 17: recipient_id must be an integer < {"recipient_id":2.0,"message":"x"}
byte 17: recipient_id must be an integer < {"recipient_id":null,"message":"x"}
byte 17: recipient_id must fit in 64 bits < {"recipient_id":9223372036854775808,"message":"x"}
byte 29: message must be a string < {"recipient_id":2,"message":5}
END
}

@test "a message that is not JSON gets a notice with the byte and the reason" {
    start_chat
    notices <<'END' | among_users
byte 2: write the quotes without backslashes < {\"recipient_id\":2,\"message\":\"hi\"}
byte 2: a key in double quotes < {'recipient_id':2,'message':'x'}
byte 17: a value is missing < {"recipient_id":,"message":"x"}
byte 18: a number has no leading zero < {"recipient_id":02,"message":"x"}
byte 19: a comma < {"recipient_id":2 "message":"x"}
byte 31: no such escape < {"recipient_id":2,"message":"\x"}
byte 33: a key in double quotes < {"recipient_id":2,"message":"x",}
byte 34: nothing may follow < {"recipient_id":2,"message":"x"} {"recipient_id":2,"message":"y"}
END
}

@test "a notice names an invisible or misleading character" {
    local mark=$'\xef\xbb\xbf' space=$'\xc2\xa0'
    start_chat
    notices <<END | among_users
byte 1: this is a byte order mark < $mark{"recipient_id":2,"message":"x"}
byte 17: this is a no-break space < {"recipient_id":$space"2","message":"x"}
byte 2: this is a curly quote < {“recipient_id”:2,“message”:“x”}
byte 29: this is a curly quote < {"recipient_id":2,"message":‘x’}
END
}

@test "a raw line break inside a message gets a notice: a message is one line" {
    start_chat
    among_users <<'END'
A join
A frame op=text "{\"recipient_id\":1,\"message\":\"hello\n\"}"
A expect notice not delivered: byte 35: a message is one line; a line break in it is written \\n
A quiet
END
}

@test "an empty message gets a notice" {
    start_chat
    among_users <<'END'
A join
A frame op=text
A expect notice not delivered: byte 1:
A quiet
END
}

@test "a notice is a valid message, even if it quotes quotes and backslashes" {
    start_chat
    play <<'END'
A join
A text {"recipient_id":"2","message":"x"}
A expect text {"sender_id":0,"message":"not delivered: byte 17: recipient_id must be an integer"}
# Quotes and backslashes in a notice are escaped.
A text "
A expect notice {\"recipient_id\":2,
A text {"a":"\x"}
A expect notice is \\\\
END
}

@test "the article's JSON pasted line by line gets a notice for each line" {
    start_chat
    notices <<'END' | among_users
byte 2: the text ends too early; a message is one line < {
byte 3: a message looks like <   "recipient_id": 2,
byte 3: a message looks like <   "message": "Go Braves!"
byte 1: a message looks like < }
byte 15: the text ends too early; a message is one line < {"recipient_id
END
}

@test "after a notice the client can send and receive as before" {
    start_chat
    among_users <<'END'
A join
A cork
A text {"recipient_id":2,"message":"1"}
A text {"recipient_id":2,"message":"2"
A text {"recipient_id":2,"message":"3"}
A uncork
A expect notice byte 32: the text ends too early
Y expect text {"sender_id":3,"message":"1"}
Y expect text {"sender_id":3,"message":"3"}
END
}

@test "a binary message that is not UTF-8 gets a notice with the byte, and its sender stays connected" {
    start_chat
    among_users <<'END'
A join
A frame op=binary "{\"recipient_id\":2,\"message\":\"\xff\xff\"}"
A expect notice not delivered: byte 30: not UTF-8
A quiet
END
}

# ---- Frames that break the WebSocket protocol: a close code --------------------------

@test "a text that is not UTF-8 gets Close 1007 at its first bad byte" {
    start_chat
    {
        closes 1007 'UTF-8 at byte 30' 'frame op=text "{\"recipient_id\":2,\"message\":\"\xff\"}"'
        # The frame or the message is not complete yet:
        closes 1007 'UTF-8 at byte 4' 'frame op=text size=1000 "abc\x80"'
        closes 1007 'UTF-8 at byte 6' 'frame op=text fin=0 "abc"' 'frame op=cont fin=0 "de\xff"'
        # The second byte shows that the first one begins a UTF-16 surrogate:
        closes 1007 'UTF-8 at byte 2' 'frame op=text size=1000 "\xed\xa0"'
        closes 1007 'UTF-8 at byte 3' 'frame op=text "ab\xc3"'
    } | among_users
}

@test "a message over the limit gets Close 1009 as soon as its frame header arrives" {
    start_chat
    {
        closes 1009 'limit' 'hex 81ff0000000000010001'
        # Two fragments of 65000 and 537 bytes: 1 byte over the limit.
        closes 1009 'limit' 'frame op=text fin=0 repeat=6500 "0123456789"' 'hex 80fe0219'
    } | among_users
}

@test "a message of exactly the limit is delivered, and one more byte gets Close 1009" {
    start_chat
    among_users <<'END'
A join
# The braces, keys and quotes around the text have 31 bytes.
A say 2 65505
Y expect said 3 65505
A say 2 65506
A expect close 1009 limit
A expect eof
END
}

@test "a frame that breaks the protocol gets Close 1002, and the reason names the rule" {
    start_chat
    {
        closes 1002 'not masked' 'frame op=text mask=0 "{}"'
        closes 1002 'reserved opcode' 'frame op=3 "{}"'
        closes 1002 'inside a fragmented' 'frame op=text fin=0 "{"' 'frame op=text "}"'
        closes 1002 'control frame in fragments' 'frame op=ping fin=0'
        closes 1002 'more bytes than it needs' 'frame op=text len=16 "{}"'
        closes 1002 'close code that must not be sent' 'frame op=close code=1005'
    } | among_users
}

@test "messages before a faulty frame are delivered, and messages behind it are not" {
    start_chat
    among_users <<'END'
A join
A cork
A text {"recipient_id":2,"message":"before"}
A frame op=text rsv=4 "{}"
A text {"recipient_id":2,"message":"behind"}
A uncork
A expect close 1002 reserved bit
A expect eof
Y expect text {"sender_id":3,"message":"before"}
Y quiet
END
}

@test "bytes behind a faulty frame do not destroy the server's Close" {
    start_chat
    among_users <<'END'
A join
A frame op=text mask=0 "x"
# `Y quiet` waits until the server has handled A's last bytes.
Y quiet
A text x
Y quiet
A say 2 60000 20
A sent
Y quiet
A expect close 1002 not masked
A expect eof
END
}

@test "messages and faulty frames in pieces of one byte get the same answers" {
    start_chat
    among_users <<'END'
A join
A pieces 1
A text {"recipient_id":x
A expect notice byte 17
A frame op=text "\xc3\xa4\xff"
A expect close 1007 byte 3
A expect eof
END
}

# ---- Plain HTTP ----------------------------------------------------------------------

@test "a plain GET of any path gets 426, and the server runs on" {
    start_chat
    {
        for path in / /favicon.ico '/chat?room=1#top' http://localhost/; do
            refused 426 WebSocket "send \"GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n\"" \
                'header Upgrade: websocket'
        done
        no_id_used
    } | among_users
}

@test "a refused HEAD request gets no body" {
    start_chat
    among_users <<'END'
A connect
A send "HEAD / HTTP/1.1\r\n\r\n"
A expect http 400 head
A expect eof
B connect
B send "HEAD / HTTP/1.1\r\nHost: localhost\r\nHost\r\n\r\n"
B expect http 400 head
B expect eof
C connect
C send "HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n"
C expect http 400 head
C expect eof
END
}

@test "one empty line before a request is ignored, but not two" {
    start_chat
    {
        refused 426 'WebSocket' 'send "\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"'
        refused 400 'GET / HTTP/1.1 wanted' 'send "\r\n\r\n"'
        printf '%s\n' 'B connect' 'B send "\r\n"' 'B upgrade' 'B expect welcome'
    } | play
}

# ---- Requests that are refused -------------------------------------------------------

@test "a wrong WebSocket version gets 426, and the answer names version 13" {
    start_chat
    {
        for version in 8 14 013 1; do
            refused 426 "13 wanted; it was: $version" "upgrade Sec-WebSocket-Version: $version" \
                'header Sec-WebSocket-Version: 13' 'header Upgrade: websocket'
        done
        no_id_used
    } | among_users
}

@test "an upgrade request without one of its three headers gets 400" {
    start_chat
    {
        refused 400 'no Sec-WebSocket-Version' 'upgrade Sec-WebSocket-Version'
        refused 400 'no "Upgrade: websocket"' 'upgrade Upgrade'
        refused 400 'no "Connection: Upgrade"' 'upgrade Connection: keep-alive'
        no_id_used
    } | among_users
}

@test "an upgrade request with no key, two keys or a malformed key gets 400" {
    local key='dGhlIHNhbXBsZSBub25jZQ=='
    start_chat
    {
        refused 400 'no Sec-WebSocket-Key' 'upgrade Sec-WebSocket-Key'
        refused 400 'several Sec-WebSocket-Key' \
            "upgrade Sec-WebSocket-Key: $key | Sec-WebSocket-Key: $key"
        # An empty key; keys of 12, 15, 17 and 18 bytes; a character that is not base64.
        for key in '' U3RyZWFtKDIsID8p dGhlIHNhbXBsZSBub25j dGhlIHNhbXBsZSBub25jZWE= \
            dGhlIHNhbXBsZSBub25jZWVh 'dGhlIHNhbXBs-SBub25jZQ=='; do
            refused 400 "16 bytes in base64; it was: $key" "upgrade Sec-WebSocket-Key: $key"
        done
        no_id_used
    } | among_users
}

@test "malformed lists of subprotocols or extensions get 400" {
    start_chat
    {
        refused 400 'Sec-WebSocket-Protocol is not a list of names; it was: a b' \
            'upgrade Sec-WebSocket-Protocol: a b'
        refused 400 'Sec-WebSocket-Extensions is malformed; it was: a; b=' \
            'upgrade Sec-WebSocket-Extensions: a; b='
        no_id_used
    } | among_users
}

@test "empty lists of subprotocols and extensions are accepted" {
    start_chat
    play <<'END'
A join Sec-WebSocket-Protocol: | Sec-WebSocket-Extensions:
A expect no header Sec-WebSocket-Protocol
A quiet
B join Sec-WebSocket-Protocol: , | Sec-WebSocket-Extensions: ,
B quiet
END
}

@test "a JSON line from nc or telnet gets 400 at once, with advice" {
    start_chat
    {
        refused 400 'use websocat or a browser, not nc or telnet' \
            'send "{\"recipient_id\":1,\"message\":\"hi\"}\n"'
        refused 400 'use websocat or a browser, not nc or telnet' 'send "{"'
    } | among_users
}

@test "a faulty HEAD request gets no body, even before it is complete" {
    start_chat hurried
    play <<END
A connect
A send "HEAD / HTTP/1.1\nHost: x\n\n"
A expect http 400 head
A expect eof
B connect
B send "HEAD /$(filler 9000)"
B expect http 414 head
B expect eof
C connect
C send "HEAD / HTTP/1.1\r\n"
C shutdown
C expect http 400 head
C expect eof
D connect
D send "HEAD / HTTP/1.1\r\n"
D expect http 408 head
D expect eof
END
}

@test "a request with a body gets 400" {
    start_chat
    {
        refused 400 'a body' \
            'send "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"'
        refused 400 'a body' 'upgrade Content-Length: 5'
        refused 400 'a body' 'upgrade Transfer-Encoding: chunked'
        no_id_used
    } | among_users
}

@test "HTTP/1.0 gets 400 and the setting that nginx needs" {
    start_chat
    {
        refused 400 'HTTP/1.1 wanted' 'send "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"' \
            'body proxy_http_version 1.1' 'body it was: HTTP/1.0'
        refused 400 'HTTP/1.1 wanted' 'send "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"'
    } | among_users
}

@test "a malformed request line gets 400" {
    start_chat
    {
        refused 400 'it was: GET /' 'send "GET /\r\nHost: localhost\r\n\r\n"'
        refused 400 'it was: hello' 'send "hello\r\n\r\n"'
    } | among_users
}

@test "a request with no Host header or several gets 400" {
    start_chat
    {
        refused 400 'no Host' 'upgrade Host'
        refused 400 'several Host' 'upgrade Host: localhost | Host: localhost'
        no_id_used
    } | among_users
}

@test "a malformed header line gets 400" {
    start_chat
    header() {
        refused 400 "$1" "send \"GET / HTTP/1.1\r\nHost: localhost\r\n$2\r\n\r\n\""
    }
    {
        header 'without a colon; it was: Accept' 'Accept'
        header 'space before the colon' 'Accept : text/plain'
        header 'folded' 'Accept: text/plain,\r\n text/html'
        header 'control character' 'Accept: text\0/plain'
        header 'CR without its LF' 'Accept: text\r/plain'
    } | among_users
}

@test "a line that ends with LF alone gets 400 at once, with advice: use nc -C" {
    start_chat
    {
        refused 400 'lines end with CR LF: use nc -C' 'send "GET / HTTP/1.1\n"'
        refused 400 'lines end with CR LF: use nc -C' \
            'send "GET / HTTP/1.1\r\nHost: localhost\n"'
    } | among_users
}

@test "a method other than GET and HEAD gets 405, and the answer names both" {
    start_chat
    {
        refused 405 'use curl 8.20 or newer to chat; it was: PUT' \
            'send "PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n"' 'header Allow: GET, HEAD'
        for method in POST OPTIONS get; do
            refused 405 "GET and HEAD are answered; it was: $method" \
                "send \"$method / HTTP/1.1\r\nHost: localhost\r\n\r\n\"" \
                'header Allow: GET, HEAD'
        done
    } | among_users
}

@test "a request head of 8 KiB is accepted, and a longer one gets 431" {
    local head=$'GET / HTTP/1.1\r\nHost: localhost\r\nX: \r\n\r\n'
    start_chat
    {
        # In `send`, CR and LF are two characters each.
        request="GET / HTTP/1.1\r\nHost: localhost\r\nX: $(filler $((8192 - ${#head})))"
        refused 426 'WebSocket' "send \"$request\r\n\r\n\""
        refused 431 '8 KiB' "send \"${request}x\r\n\r\n\""
    } | among_users
}

@test "an endless request line gets 414 at 8 KiB" {
    start_chat
    refused 414 '8 KiB' "send \"GET /$(filler 9000)\"" | among_users
}

@test "an endless request head gets 431 at 8 KiB" {
    start_chat
    refused 431 '8 KiB' "send \"GET / HTTP/1.1\r\nX: $(filler 9000)\"" | among_users
}

@test "a page of another origin gets 403, and the answer names the -o that accepts it" {
    start_chat
    {
        refused 403 'page of http://evil.example' 'upgrade Origin: http://evil.example' \
            "body -o 'http://evil.example'"
        no_id_used
    } | among_users
}

# Runs in a subshell, so that the test keeps its locale.
date_now() {
    (LC_ALL=C; export LC_ALL; date -u '+Date: %a, %d %b %Y %H:%M')
}

@test "every answer except 101 and 503 has a Date in English, in any locale" {
    local before after all i
    LC_ALL=de_DE.UTF-8 start_chat
    for i in 1 2 3; do          # once more, if a minute ends in between
        before=$(date_now)
        all=$(answer 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'; answer 'POST / HTTP/1.1\r\nHost: x\r\n\r\n')
        after=$(date_now)
        [ "$before" != "$after" ] || break
    done
    [ "$(grep -c "^$before:[0-5][0-9] GMT.\{0,1\}$" <<<"$all")" -eq 2 ]
    play <<'END'
A join
A expect no header Date
END
}

# is_a_line TEXT: words, and no control characters but for the newline at its end
is_a_line() {
    case ${1%?} in
        *[[:cntrl:]]* | *$'\x9b'*) return 1 ;;
        *[a-z]*) [ "${1#"${1%?}"}" = $'\n' ] ;;
        *) return 1 ;;
    esac
}

@test "an error response is one line of text, without control characters from the request" {
    local request all body LC_ALL=C
    start_chat
    # U+009B (C2 9B in UTF-8) starts a control sequence in some terminals.
    for request in 'GET / HTTP/1.1\r\n\r\n' 'GET / HTTP/1.1\n' 'G\tT / HTTP/1.1\r\n\r\n' \
        'PUT\xc2\x9b / HTTP/1.1\r\n\r\n'; do
        all=$(answer "$request"; echo .)        # the dot keeps the last newline
        body=${all#*$'\r\n\r\n'}
        body=${body%.}
        starts_with "$all" 'HTTP/1.1 4'
        [ "$(content_length "$all")" -eq ${#body} ]
        is_a_line "$body"
    done
}

@test "requests in pieces of one byte get the same answers" {
    start_chat
    among_users <<'END'
A connect
A pieces 1
A send "\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
A expect http 426
A expect eof
B connect
B pieces 1
B send "GET / HTTP/1.1\r\n\r\n"
B expect http 400
B expect body no Host
B expect eof
C connect
C pieces 1
C send "GET / HTTP/1.1\n"
C expect http 400
C expect body use nc -C
C expect eof
END
}

@test "bytes behind a refused request do not destroy the answer" {
    start_chat
    # The body is longer than one read of the server, and some of it follows the answer.
    among_users <<'END'
A connect
A cork
A send "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
A frame op=text repeat=300000 "x"
A uncork
A sent
Y quiet
A frame op=text repeat=300000 "x"
A sent
Y quiet
A expect http 405
A expect body POST
A expect eof
END
}

# ---- Input that ends -----------------------------------------------------------------

@test "a whole request is answered even if the client's input ends behind it" {
    start_chat
    among_users <<'END'
A connect
A send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
A shutdown
A expect http 426
A expect eof
B connect
B cork
B upgrade
B text {"recipient_id":2,"message":"Good bye."}
B uncork
B shutdown
B expect welcome
B expect eof
Y expect text {"sender_id":3,"message":"Good bye."}
END
}

@test "half a request gets 400 when the client's input ends" {
    start_chat
    among_users <<'END'
A connect
A send "GET / HTTP/1.1\r\nHost: loc"
A shutdown
A expect http 400
A expect body ended
A expect eof
# B sends nothing, so it gets no answer.
B connect
B shutdown
B expect eof
Z join
Z expect id 3
END
}
