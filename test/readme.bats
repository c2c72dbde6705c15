#!/usr/bin/env bats
# What README.md shows and names is so; and readme.sh, which says that, can tell.

bats_require_minimum_version 1.5.0
load helper

setup() {
    DRAFT=$BATS_TEST_TMPDIR/draft.md
}

teardown() {
    :
}

readme() {
    bash "$BATS_TEST_DIRNAME/readme.sh" "$@"
}

need_a_class() {
    local tool
    for tool in script curl websocat openssl xxd; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
    [[ $(script --version 2>/dev/null) == *util-linux* ]] || skip "script is not util-linux's"
    env --default-signal true 2>/dev/null || skip "env is not coreutils'"
}

# A README in order, with one of everything that a transcript can have.
draft() {
    cat >"$DRAFT" <<'END'
# chat

## Talk

```console
# terminal 1
$ make && ./chat
chat: listening on 127.0.0.1:8080 and [::1]:8080
# terminal 2: user 1
$ websocat ws://localhost:8080
# terminal 3: user 2
$ websocat ws://localhost:8080
```

The server tells of both, and of what user 1 says:

```console
# terminal 1
user 1 joined from 127.0.0.1:37152
user 2 joined from 127.0.0.1:37160
# terminal 2
{"recipient_id":2,"message":"Go Braves!"}
# terminal 3
{"sender_id":1,"message":"Go Braves!"}
{"recipient_id":1,"message":"hi"}
# terminal 2
{"sender_id":2,"message":"hi"}
^C
$ ./chat -p 8080
chat: cannot listen on 127.0.0.1:8080: address already in use; try -p 8081
# terminal 1
...
user 1 left: ...
```

## Ask

```console
$ curl -s -i http://localhost:8080 | \
    head -n 3
HTTP/1.1 426 Upgrade Required
Date: ...
Upgrade: websocket
$ curl -s http://localhost:8080
This is chat, a WebSocket server: users send each other messages.
...
Online: 0
```

```sh
# greet.sh
echo "hello $1"
```

```console
# terminal 1
127.0.0.1:54321: 426: a plain request, shown the page
...
^Cstopping on signal 2
$ sh greet.sh world; echo $?
hello world
0
```
END
}

# wrong LINE SED-COMMAND: the section with that line, changed so, is not true there
wrong() {
    local others='36,$s/.*//'
    (($1 < 36)) || others='5,35s/.*//'
    draft
    sed -i "$others" "$DRAFT"
    sed -i.before "$2" "$DRAFT"
    run ! cmp -s "$DRAFT" "$DRAFT.before"
    run -1 env PATIENCE=1 bash "$BATS_TEST_DIRNAME/readme.sh" replay "$DRAFT"
    [[ $output == "$DRAFT:$1: "* ]] || {
        echo "$output"
        echo "expected line $1 to be found wrong after: $2"
        return 1
    }
}

@test "README: the files, functions, make targets and headings that it names are there" {
    readme names "$ROOT/README.md"
}

@test "README: its transcripts are true" {
    need_a_class
    run -0 readme replay "$ROOT/README.md"
    [[ $output != "0 commands played" ]]
}

# A README in order, with all that names are looked for in.
names() {
    cat >"$DRAFT" <<'END'
# The `chat` server, a tour

Begin [here](#the-chat-server-a-tour), and see [the client](test/peer.c), test/*.bats,
`test/bin/bench`, `greet.sh` and <https://example.org/missing.c>.
Your key goes through `ws_accept_key` in
ws.c, which `take_request()` reaches; `poll()` is libc's, `STALL_MS` at the top of `chat.c`,
`JSON_DEPTH` in json.h; `make test` passes.

```sh
# greet.sh
```
END
}

@test "what a README names is found" {
    names
    run -0 readme names "$DRAFT"
    [ -z "$output" ]
}

@test "what a README names is missed if it is not there" {
    names
    sed -i 's/](#the-chat/](#our-chat/; s/peer.c/pear.c/; s/\.bats/.cats/; s/bench/bank/
            s/`greet.sh/`great.sh/; s/ws_accept_key/ws_key/; s/take_re/give_re/
            s/STALL_MS/STALLED_MS/; s/in json.h/in ws.h/; s/make test/make tests/
            s/poll()/epoll()/' "$DRAFT"
    run -1 readme names "$DRAFT"
    [ "$output" = "$(sed "s|^|$DRAFT: there is no |" <<'END'
heading #our-chat-server-a-tour
file test/pear.c
file great.sh
file test/*.cats
file test/bin/bank
file test/pear.c
ws_key in ws.c
STALLED_MS in chat.c
JSON_DEPTH in ws.h
give_request()
epoll()
make tests
END
)" ]
}

@test "a transcript is found true, on whatever port, with whatever varies" {
    need_a_class
    draft
    run -0 readme replay "$DRAFT"
    [ "$output" = "7 commands played" ]
}

@test "a transcript is found wrong in the line that is wrong" {
    need_a_class
    wrong 19 '19s/user 1/user 3/'                       # who it is
    wrong 19 '19s/37152/8080/'                          # a port that the system did not choose
    wrong 24 's/^{"sender_id":1,/{"sender_id":3,/'      # what comes to another terminal
    wrong 24 '22s/Braves/Mets/'                         # what was typed
    wrong 32 '33s/user 1/user 3/; 31d'                  # what never comes
    wrong 42 '42d'                                      # a line that is left out
    wrong 43 '43d'                                      # the last one
    wrong 46 '44s/ .*/ echo x; cat/; 45s/.*/x/; 46,47d' # one that does not end
    wrong 59 '59s/signal 2/signal 15/'                  # the answer to ^C
    wrong 62 '62s/0/1/'                                 # an exit status
}
