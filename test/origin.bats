#!/usr/bin/env bats
# Which clients may connect: programs, pages from this server, and the origins after -o.

bats_require_minimum_version 1.7.0
load helper

# try STATUS HOST ORIGIN: a request with this Host and Origin gets STATUS, 101 or 403
try() {
    local verdict=$1
    [ "$verdict" = 101 ] && verdict="A expect welcome" || verdict="A expect http $verdict"
    play <<END || { echo "with Host: $2 and Origin: $3"; return 1; }
A upgrade Host: $2 | Origin: $3
$verdict
END
}

@test "a program without Origin may connect to any host name" {
    start_chat
    play <<'END'
A join Host: chat.example.org:8080
A quiet
END
}

@test "pages from localhost and from IP addresses of this server may connect" {
    start_chat
    try 101 localhost:8080 http://localhost:8080
    try 101 127.0.0.1:8080 http://127.0.0.1:8080
    try 101 192.168.1.7:8080 http://192.168.1.7:8080
    try 101 '[::1]:8080' 'http://[::1]:8080'
    try 101 '[fe80::1]:8080' 'http://[fe80::1]:8080'
}

@test "in an origin, the case of letters and the scheme's usual port make no difference" {
    start_chat
    try 101 LocalHost:8080 http://localhost:8080
    try 101 localhost:8080 HTTP://LOCALHOST:8080
    try 101 localhost http://localhost
    try 101 localhost:80 http://localhost
    try 101 localhost http://localhost:80
    try 101 localhost https://localhost
    try 101 localhost:443 https://localhost
    try 101 '[::1]' 'http://[::1]:80'
}

@test "pages from another host or port are refused" {
    start_chat
    try 403 localhost:8080 http://evil.example
    try 403 localhost:8080 http://localhost:8081
    try 403 localhost:8080 http://localhost
    try 403 localhost:8080 https://localhost
    try 403 localhost:8080 http://127.0.0.1:8080
    try 403 localhost:8080 http://localhost.evil.example:8080
    try 403 localhost:8080 http://evil.example:8080/localhost:8080
    try 403 localhost:8080 null
    try 403 localhost:8080 localhost:8080
    try 403 localhost:8080 ''
}

@test "a page whose host name equals Host is refused: anybody can make a name point to this server" {
    start_chat
    try 403 evil.example:8080 http://evil.example:8080
    try 403 localhost.example:8080 http://localhost.example:8080
    try 403 127.0.0.1.evil.example http://127.0.0.1.evil.example
    try 403 1.2.3:8080 http://1.2.3:8080
    try 403 '[evil.example]:8080' 'http://[evil.example]:8080'
}

@test "an origin that is too long is refused" {
    start_chat -o http://chat.example
    try 403 localhost "http://chat.example.$(printf 'x%.0s' {1..500})"
    try 101 localhost http://chat.example
}

@test "a refused page gets its origin and the option that accepts it, and uses up no id" {
    start_chat
    play <<'END'
A upgrade Origin: http://evil.example
A expect http 403
A expect body http://evil.example may not connect
A expect body chat -o 'http://evil.example'
A expect eof
B join
B expect id 1
END
    logged "403: a page of http://evil.example may not connect"
}

@test "a plain request from another origin is refused, too, and HEAD gets no body" {
    start_chat
    play <<'END'
A connect
A send "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"
A expect http 403
A expect no body Online
B connect
B send "HEAD / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"
B expect http 403 head
B expect eof
END
}

@test "-o accepts one more origin, and no other" {
    start_chat -o http://Example.org:8000
    try 101 localhost:8080 http://example.org:8000
    try 101 anything http://example.ORG:8000
    try 101 localhost:8080 http://localhost:8080
    try 403 localhost:8080 http://example.org
    try 403 localhost:8080 https://example.org:8000
    try 403 localhost:8080 http://www.example.org:8000
}

@test "-o can be given eight times at most" {
    local i origins=()
    for i in 1 2 3 4 5 6 7 8; do
        origins=("${origins[@]}" -o "http://$i.example")
    done
    start_chat "${origins[@]}"
    for i in 1 2 3 4 5 6 7 8; do
        try 101 localhost:8080 "http://$i.example"
    done
    try 403 localhost:8080 http://9.example
    run -2 within 10 "$ROOT/chat" -p 0 "${origins[@]}" -o http://9.example
    [ "${lines[0]}" = "chat: -o can be given 8 times at most: http://9.example" ]
}

@test "a slash at the end of an origin makes no difference" {
    start_chat -o http://example.org/ -o file:///
    try 101 localhost:8080 http://example.org
    try 101 localhost:8080 http://example.org/
    try 101 localhost:8080 http://example.org:80/
    try 101 localhost:8080 http://localhost:8080/
    try 101 localhost:8080 file://
    try 403 localhost:8080 file:
    try 403 localhost:8080 http://example.org//
}

@test "a host that only looks like localhost or an IP address is refused" {
    local host
    start_chat
    for host in '[::1]evil.example' '[::1].evil.example:8080' '[::1' '[::1]:' '[::1]:80x' '::1' \
        'localhost:8080:evil' 'localhost:' 'localhost.' 'xlocalhost' '[localhost]' '[1.2.3.4]' \
        '1.2.3.4.5' '1.2.3.4%25' '[::1%25lo]' '[:::1]' '[1::2::3]' '[]' ''; do
        try 403 "$host" "http://$host"
    done
}

# advised ORIGIN OPTION: a 403 for ORIGIN names -o OPTION, which then accepts ORIGIN
advised() {
    try_advice="A upgrade Origin: $1
A expect http 403
A expect body chat -o '$2' lets"
    start_chat
    play <<<"$try_advice" || { echo "with Origin: $1"; return 1; }
    stop_chat
    start_chat -o "$2"
    try 101 localhost:8080 "$1"
    stop_chat
}

@test "the option in a 403 response accepts the origin, and is safe to paste into a shell" {
    local long=http://$(printf 'x%.0s' {1..250})
    advised http://evil.example/ http://evil.example/
    advised HTTP://Evil.example:80 HTTP://Evil.example:80
    advised 'http://[2001:db8::1]:8080' 'http://[2001:db8::1]:8080'
    advised null null
    advised file:/// file:///
    advised "http://x';touch pwned;'" '*'
    advised 'http://x y' '*'
    advised http://é.example '*'
    advised http://example.org/chat '*'
    advised example.org '*'
    advised '' '*'
    advised "$long" '*'
    # The answer shows 120 bytes at most.
    advised "${long:0:120}" "${long:0:120}"
    advised "${long:0:121}" '*'
}

@test "-o without a port means the scheme's usual port" {
    start_chat -o https://example.org
    try 101 localhost:8080 https://example.org
    try 101 localhost:8080 https://example.org:443
    try 403 localhost:8080 http://example.org
}

@test "-o null accepts pages that were opened from a file" {
    start_chat -o null
    try 101 localhost:8080 null
    try 403 localhost:8080 http://evil.example
}

@test "-o '*' accepts all pages" {
    start_chat -o '*'
    try 101 localhost:8080 http://evil.example
    try 101 localhost:8080 null
}

@test "-o with a malformed origin is a usage error" {
    local origin
    for origin in example.org http:// http:/// http://:80 ://example.org \
        http://example.org// http://example.org/chat file:///chat null/ '*/' ''; do
        run -2 within 10 "$ROOT/chat" -p 0 -o "$origin"
        [ "${lines[0]}" = "chat: -o takes SCHEME://HOST[:PORT] without a path, null, or '*': ${origin:-it is empty}" ]
    done
}
