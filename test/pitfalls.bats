#!/usr/bin/env bats
# Inputs that crashed or fooled other WebSocket servers, from their public bug reports.
# The bytes are in hexadecimal.  All masked frames have the mask of the RFC's examples,
# 37 fa 21 3d.  If A and B join, they are users 1 and 2.

bats_require_minimum_version 1.7.0
load helper

GET=474554202f20485454502f312e310d0a                            # GET / HTTP/1.1
HOST=486f73743a203132372e302e302e313a383038300d0a               # Host: 127.0.0.1:8080
UPGRADE=557067726164653a20776562736f636b65740d0a                # Upgrade: websocket
CONNECTION=436f6e6e656374696f6e3a20557067726164650d0a           # Connection: Upgrade
VERSION=5365632d576562536f636b65742d56657273696f6e3a2031330d0a  # Sec-WebSocket-Version: 13
NO_VERSION=${VERSION%31330d0a}                                  # Sec-WebSocket-Version:
NO_KEY=5365632d576562536f636b65742d4b65793a20                   # Sec-WebSocket-Key:
# Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
KEY=${NO_KEY}6447686c49484e68625842735a5342756232356a5a513d3d0d0a
END=0d0a                                                        # the empty line

# raw_byte BYTE: the log contains this byte, not escaped
raw_byte() {
    LC_ALL=C grep -qa "$(printf "$1")" "$CHAT_LOG"
}

# times N HEX: prints HEX N times
times() {
    printf "$2%.0s" $(seq "$1")
}

# Plays the case from standard input.  After it, the server must accept a new client.
play_case() {
    start_chat -q
    { cat; printf '%s\n' 'Z join' 'Z quiet'; } | play
}

@test "01 firefox-connection-list: Connection may be a list that contains Upgrade" {
    play_case <<END
A connect
# Connection: keep-alive, Upgrade
A hex $GET$HOST$UPGRADE$KEY${VERSION}436f6e6e656374696f6e3a206b6565702d616c6976652c20557067726164650d0a$END
A expect welcome
A quiet
END
}

@test "02 request-in-one-byte-writes: the 101 comes after the last byte, not earlier" {
    play_case <<END
A connect
A pieces 1
A hex $GET$HOST$UPGRADE$CONNECTION$KEY${VERSION}0d
# B joins, so the server has read all of A's bytes.  A has got no answer yet.
B join
B expect id 1
A silent 1
A hex 0a
A expect welcome
A expect id 2
END
}

@test "03 wrong-version: version 8 gets 426, and the answer names version 13" {
    play_case <<END
A connect
A hex $GET$HOST$UPGRADE$CONNECTION$KEY${NO_VERSION}380d0a$END
A expect http 426
A expect header Sec-WebSocket-Version: 13
A expect eof
END
}

@test "04 key-not-16-bytes: a key of 12 bytes gets 400" {
    play_case <<END
A connect
# U3RyZWFtKDIsID8p
A hex $GET$HOST$UPGRADE$CONNECTION$VERSION${NO_KEY}553352795a5746744b444973494438700d0a$END
A expect http 400
A expect eof
END
}

@test "05 no-key-at-all: a request without a key gets 400, and the next user is user 1" {
    play_case <<END
A connect
A hex $GET$HOST$UPGRADE$CONNECTION$VERSION$END
A expect http 400
A expect eof
B join
B expect id 1
END
}

@test "06 cross-origin: a page from another origin gets 403" {
    play_case <<END
A connect
# Origin: http://evil.example
A hex $GET$HOST$UPGRADE$CONNECTION$KEY${VERSION}4f726967696e3a20687474703a2f2f6576696c2e6578616d706c650d0a$END
A expect http 403
A expect eof
END
}

@test "07 plain-get: a plain GET gets 426 and a text to read" {
    play_case <<END
A connect
# Connection: close
A hex $GET${HOST}436f6e6e656374696f6e3a20636c6f73650d0a$END
A expect http 426
A expect header Upgrade: websocket
A expect body WebSocket
A expect eof
END
}

@test "08 unmasked-text: an unmasked frame gets Close 1002 and is not delivered" {
    play_case <<END
A join
B join
# {"recipient_id":2,"message":"bare"}, not masked
A hex 81237b22726563697069656e745f6964223a322c226d657373616765223a2262617265227d
A expect close 1002 mask
A expect eof
B quiet
END
}

@test "09 ping-125-and-126: a ping of 125 bytes gets a pong, and one of 126 bytes gets Close 1002" {
    play_case <<END
A join
# 125 and 126 times "p"
A hex 89fd37fa213d$(times 31 478a514d)47
A expect pong "$(times 125 p)"
A hex 89fe007e37fa213d$(times 31 478a514d)478a
A expect close 1002 125
A expect eof
END
}

@test "10 ping-between-fragments: the ping gets its pong, and the message around it arrives whole" {
    play_case <<END
A join
B join
# the fragment {"recipient, the ping "mid", and the fragment _id":2,"message":"hello"}
A hex 018b37fa213d4cd8535854935154529455898337fa213d5a9345809937fa213d6893451f0dc80d1f5a9f524e569d441f0dd849585b964e1f4a
A expect pong "mid"
B expect text {"sender_id":1,"message":"hello"}
A quiet
B quiet
END
}

@test "11 orphan-continuation: a continuation frame without a message gets Close 1002" {
    play_case <<END
A join
B join
# {"recipient_id":2,"message":"orphan"}
A hex 80a537fa213d4cd8535854935154529455625e9e030705d603505289525c509f03071595534d5f9b4f1f4a
A expect close 1002 continu
A expect eof
B quiet
END
}

@test "12 rsv1-not-agreed: a reserved bit gets Close 1002, because there is no extension" {
    play_case <<END
A join
B join
# {"recipient_id":2,"message":"x"}
A hex c1a037fa213d4cd8535854935154529455625e9e030705d603505289525c509f030715820340
A expect close 1002 reserved bit
A expect eof
B quiet
END
}

@test "13 length-2-to-63: a length with the top bit set gets Close 1002" {
    play_case <<END
A join
A hex 81fffffffffffffffffc37fa213d
A expect close 1002 length
A expect eof
END
}

@test "14 close-of-one-byte: a Close with half a code gets Close 1002" {
    play_case <<END
A join
A hex 888137fa213d34
A expect close 1002 half
A expect eof
END
}

@test "15 overlong-utf8: C0 AF in a text gets Close 1007" {
    play_case <<END
A join
B join
# {"recipient_id":2,"message":" C0 AF "}: the first of the two is byte 30
A hex 81a137fa213d4cd8535854935154529455625e9e030705d603505289525c509f0307153a8e1f4a
A expect close 1007 byte 30
A expect eof
B quiet
END
}

@test "16 json-cut-in-an-escape: JSON that ends in a backslash gets a notice" {
    play_case <<END
A join
B join
# {"recipient_id":2,"message":"va\\: a message of 32 bytes
A hex 81a037fa213d4cd8535854935154529455625e9e030705d603505289525c509f0307158c4061
A expect notice not delivered: byte 33: the text ends too early
A quiet
B quiet
END
}

@test "17 binary-message: a binary message is delivered as a text message" {
    play_case <<END
A join
B join
# {"recipient_id":2,"message":"x"}
A hex 82a037fa213d4cd8535854935154529455625e9e030705d603505289525c509f030715820340
B expect text {"sender_id":1,"message":"x"}
A quiet
B quiet
END
}

@test "18 nobody-there: a message to an unknown id is not delivered, and its sender stays connected" {
    play_case <<END
A join
B join
# {"recipient_id":7,"message":"anybody?"} and the ping "still"
A hex 81a737fa213d4cd8535854935154529455625e9e030700d603505289525c509f0307159b4f445595454408d85c898537fa213d448e48515b
A expect pong "still"
A quiet
B quiet
END
}

@test "20 message-and-close-in-one-read: the message comes first, with both approaches" {
    local approach
    for approach in directory router; do
        start_chat -q -a $approach
        play <<'END'
A join
# {"recipient_id":1,"message":"me"} and a Close of 1000, in one write
A hex 81a137fa213d4cd8535854935154529455625e9e030706d603505289525c509f03071597441f4a888237fa213d3412
A expect text {"sender_id":1,"message":"me"}
A expect close 1000
A expect eof
B join
B quiet
END
        stop_chat
    done
}

@test "26 origin-file: the answer names -o 'file://', and that option accepts the page" {
    local request="A hex $GET$HOST$UPGRADE$CONNECTION$KEY${VERSION}4f726967696e3a2066696c653a2f2f0d0a$END"
    start_chat -q
    play <<END
A connect
# Origin: file://
$request
A expect http 403
A expect body chat -o 'file://' lets it in
A expect eof
END
    stop_chat
    start_chat -q -o file://
    play <<END
A connect
$request
A expect welcome
A quiet
END
}

@test "27 raw-9b-in-the-log: the log and the answer are UTF-8, and show the byte as \\x9B" {
    start_chat
    play <<END
A join
# 9B 32 4A
A hex 828337fa213dacc86b
A expect notice not delivered: byte 1: not UTF-8
# FF; C3 at the end of a message; E2 82, the first two bytes of a character of three
A hex 828137fa213dc8
A expect notice not UTF-8
A hex 828237fa213d5639
A expect notice not UTF-8
A hex 828337fa213dd57840
A expect notice not UTF-8
A quiet
B connect
B hex 9b324a$GET${HOST}$END
B expect http 405
B expect body it was: \\x9B2JGET
B expect eof
log 1: bad message: \\x9B2J
log bad message: \\xFF
log bad message: a\\xC3
log bad message: \\xE2\\x82a
log 405: only GET and HEAD are answered; it was: \\x9B2JGET
END
    ! raw_byte '\233' || return 1
    ! raw_byte '\377' || return 1
    ! raw_byte '\303' || return 1
    ! raw_byte '\342' || return 1
}

@test "28 curly-quotes-and-a-line-break: the notices name the curly quote and the line break" {
    play_case <<END
A join
# {“recipient_id”:1,“message”:“hi”}
A hex 81ad37fa213d4c18a1a1459f42544793445343a54859d57abc0706d6c3bdab97444e449b4658d57abc07d57abd555e18a1a04a
A expect notice not delivered: byte 2: this is a curly quote
# {"recipient_id":1,"message":"hello, a line feed, "}
A hex 81a537fa213d4cd8535854935154529455625e9e030706d603505289525c509f0307159244515b952b1f4a
A expect notice not delivered: byte 35: a message is one line
A quiet
END
}

@test "29 two-origins: both origins are accepted, and a third is refused" {
    start_chat -q -o http://a.example -o http://b.example
    play <<'END'
A join Origin: http://a.example
B join Origin: http://b.example
C upgrade Origin: http://c.example
C expect http 403
C expect eof
END
}

@test "30 tls-hello: a TLS client hears at its first byte that this port does not speak TLS" {
    local words='use http:// and ws://, not https:// and wss://'
    start_chat
    play <<END
A connect
A hex 16030100b3010000af0303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f$(times 134 00)
A expect http 400
A expect body $words
A expect eof
B connect
B hex 16
B expect http 400
B expect body $words
B expect eof
log 2 : 400: $words
END
}
