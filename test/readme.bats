#!/usr/bin/env bats
# Checks README.md with prove/readme.sh: its commands print what it shows, and the names
# in it exist.  Further tests check that prove/readme.sh finds mistakes.

bats_require_minimum_version 1.7.0
load helper

setup() {
    export LC_ALL=C         # in tr_TR, [a-z] has no i
    DRAFT=$BATS_TEST_TMPDIR/draft.md
}

teardown() {
    :
}

readme() {
    bash "$BATS_TEST_DIRNAME/prove/readme.sh" "$@"
}

need_a_class() {
    local tool
    need_script
    for tool in curl websocat openssl xxd; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
}

# A correct README with one of each thing that a transcript can contain.
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
127.0.0.1:54321: 426: a plain request, shown the text
...
^Cstopping on signal 2
$ sh greet.sh world; echo $?
hello world
0
```
END
}

# wrong LINE SED-COMMAND: changes the draft's section with this line.  readme.sh must
# report the line as wrong.
wrong() {
    local others='36,$s/.*//'
    [ "$1" -lt 36 ] || others='5,35s/.*//'
    draft
    sed "$others" "$DRAFT" >"$DRAFT.before"
    sed "$2" "$DRAFT.before" >"$DRAFT"
    run ! cmp -s "$DRAFT" "$DRAFT.before"
    run -1 env PATIENCE=3 bash "$BATS_TEST_DIRNAME/prove/readme.sh" replay "$DRAFT"
    starts_with "$output" "$DRAFT:$1: " || {
        echo "$output"
        echo "expected line $1 to be found wrong after: $2"
        return 1
    }
}

@test "README: all functions, files, options, limits, make targets and headings in it exist" {
    readme names "$ROOT/README.md"
}

# Lists the files of test/ that git knows, or all files if there is no git.  So a file
# that you have just begun needs no line yet.
files_of_test() {
    cd "$BATS_TEST_DIRNAME"
    { git ls-files 2>/dev/null | grep . || ls; } | sed 's|/.*||' | grep -vx README.md
    echo bin
}

@test "README: the test that its exercises name exists" {
    local name
    name=$(tr '\n' ' ' <"$ROOT/README.md" | sed 's/.*\*nobody test\*[^*]*\*\([^*]*\)\*.*/\1/')
    grep -qF "@test \"$name\" {" "$BATS_TEST_DIRNAME/messages.bats"
}

@test "test/README.md: it has one line for each file and folder of test/, and no other" {
    sed -n 's/^| `\([^`/]*\)\/*` |.*/\1/p' "$BATS_TEST_DIRNAME/README.md" | sort \
        >"$BATS_TEST_TMPDIR/lines"
    diff "$BATS_TEST_TMPDIR/lines" <(files_of_test | sort -u)
}

@test "README: its commands print what it shows" {
    need_a_class
    run -0 readme replay "$ROOT/README.md"
    [ "$output" != "0 commands played" ]
}

# A correct README with a name of each form that readme.sh looks up (there: Names).
names() {
    cat >"$DRAFT" <<'END'
# The `main` function, a tour

Begin [here](#the-main-function-a-tour), and see [the client](test/peer.c), test/*.bats,
`test/bin/bench`, `greet.sh` and <https://example.org/missing.c>.
Your key goes through `ws_accept_key` in
ws.c, which `take_request()` reaches; `poll(...)` is POSIX, and `epoll` too new for it.
`STALL_MS` at the top of `chat.c`, `JSON_DEPTH` in json.h and `QUEUE` are limits.
`make test` passes, also with `CFLAGS=-O3`; `make soak SOAK='-s 9'` and `make CLIENTS=9` do.

| hop | function |
|---|---|
| 1 | `look`, `handle_events` |
| 2 | `struct client`, `print clients[3]`, `{"sender_id":0}` |

`./chat -a router -k 10`, `-q`, and `-m 9` for curl; `chat -V`.

```sh
# greet.sh
curl -m 9 "$@"
```

```text
accept --> REQUEST --> router_send
```
END
}

@test "readme.sh finds the names in a correct README" {
    names
    run -0 readme names "$DRAFT"
    [ -z "$output" ]
}

# misses SED-COMMAND NAME: after this change, readme.sh reports that NAME does not exist
misses() {
    names
    sed "$1" "$DRAFT" >"$DRAFT.changed"
    run -1 readme names "$DRAFT.changed"
    [ "$output" = "$DRAFT.changed: there is no $2" ] || {
        echo "after $1: $output"
        return 1
    }
}

@test "readme.sh reports a name that does not exist" {
    misses 's/](#the-main/](#our-main/' 'heading #our-main-function-a-tour'
    misses 's/test\/\*/test\/*.no/' 'file test/*.no.bats'
    misses 's/bin\/bench/bin\/bank/' 'file test/bin/bank'
    misses 's/`greet.sh/`great.sh/' 'file great.sh'
    misses 's/take_request()/give_request()/' give_request
    misses 's/poll(\.\.\.)/pole(...)/' pole
    misses 's/`epoll/`zpoll/' zpoll
    misses 's/JSON_DEPTH` in json.h/JSON_DEPTH` in ws.h/' 'JSON_DEPTH in ws.h'
    misses 's/`QUEUE/`QUEUES/' QUEUES
    misses 's/make test/make tests/' 'make tests'
    misses 's/CFLAGS/CFLOGS/' 'CFLOGS in the Makefile'
    misses 's/SOAK=/SINK=/' 'SINK in the Makefile'
    misses 's/CLIENTS=/USERS=/' 'USERS in the Makefile'
    misses 's/`look/`glance/' glance
    misses 's/`handle_events/`attends/' attends
    misses 's/struct client/struct customer/' 'struct customer'
    misses 's/clients\[/customers[/' customers
    misses 's/sender_id/sent_by/' sent_by
    misses 's/-a router/-a post/' 'approach post'
    misses 's/-k 10/-z 10/' 'option -z'
    misses 's/`-q/`-x/' 'option -x'
    misses 's/`-m/`-n/' 'option -n'
    misses 's/chat -V/chat -W/' 'option -W'
    misses 's/REQUEST/ASKING/' ASKING
    misses 's/router_send/router_post/' router_post
}

@test "readme.sh reports a name that only a comment contains" {
    local copy=$BATS_TEST_TMPDIR/copy
    mkdir -p "$copy/test/prove"
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$ROOT/chat" "$copy"
    cp "$BATS_TEST_DIRNAME/prove/readme.sh" "$copy/test/prove"
    printf '# One\n\nSee `find_user`.\n' >"$DRAFT"
    bash "$copy/test/prove/readme.sh" names "$DRAFT"
    sed 's/find_user/seek_user/g' "$ROOT/chat.c" >"$copy/chat.c"
    printf '/* find_user,\n * "find_user" */\n' >>"$copy/chat.c"
    run -1 bash "$copy/test/prove/readme.sh" names "$DRAFT"
    [ "$output" = "$DRAFT: there is no find_user" ]
}

@test "readme.sh accepts a correct transcript with another port and other varying parts" {
    need_a_class
    draft
    run -0 readme replay "$DRAFT"
    [ "$output" = "7 commands played" ]
}

@test "readme.sh reports the wrong line of a transcript" {
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

# ---- The trip of a message

# Prints the functions of the README's tables of hops: all in their last column.
readme_hops() {
    awk -F'|' '!/^\|/ { wanted = 0 } wanted { print $(NF - 1) } / function \|$/ { wanted = 1 }' \
        "$ROOT/README.md" | grep -o '`[a-z0-9_]*`' | tr -d '`'
}

# A function that is called twice in a row counts once, as in the README.
trip_hops() {
    awk '$2 ~ /^[a-z0-9]+\.c:[0-9]+$/ { print $1 }' "$BATS_TEST_TMPDIR/trip" | uniq
}

@test "README: its two tables of hops have the functions that make trip shows, in the same order" {
    trip_or_skip
    cat "$BATS_TEST_TMPDIR/trip"
    readme_hops >"$BATS_TEST_TMPDIR/readme"
    trip_hops | diff "$BATS_TEST_TMPDIR/readme" -
    [ "$(grep -c '' "$BATS_TEST_TMPDIR/readme")" -gt 30 ]
}

# Prints the README's transcript of make trip: the first block behind these words.
readme_trip() {
    awk '/`make trip` shows/ { near = 1 } inside && /^```/ { exit } inside { print } near && /^```text/ { inside = 1 }' \
        "$ROOT/README.md"
}

# A "..." alone stands for any lines; within a line, for any characters.
@test "README: make trip prints what its transcript shows" {
    local line pattern shown=0 gap=1
    trip_or_skip
    cat "$BATS_TEST_TMPDIR/trip"
    exec 4<"$BATS_TEST_TMPDIR/trip"
    while IFS= read -r line; do
        if [ "$line" = ... ]; then
            gap=1
            continue
        fi
        pattern=$(sed 's/[^[:alnum:]]/\\&/g; s/\\\.\\\.\\\./*/g' <<<"$line")
        while IFS= read -r got <&4; do
            if [[ $got == $pattern ]]; then break; fi
            [ "$gap" ] || break
        done
        [[ $got == $pattern ]] || {
            echo "expected: $line"
            return 1
        }
        gap=
        shown=$((shown + 1))
    done < <(readme_trip)
    [ "$shown" -gt 5 ]
}
