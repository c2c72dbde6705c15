#!/usr/bin/env bats
# The experiment of the stalled reader as "make demo" shows it, with hurried deadlines.

bats_require_minimum_version 1.7.0
load helper

teardown() {
    :
}

# figures WORDS: the row of the table that has them
figures() {
    local row
    row=$(grep -F -- "$1" "$BATS_TEST_TMPDIR/demo") || return
    read -r directory router <<<"$(awk '{ print $(NF - 1), $NF }' <<<"$row")"
}

# story APPROACH: its lines but the bars
story() {
    sed -n "/-a $1\$/,/^\$/p" "$BATS_TEST_TMPDIR/demo" |
        grep -vE '^ +[0-9.]+ s |-a |messages a second|^$' |
        sed 's/^ *//; s/lost: [1-9][0-9]* bytes to it/lost: N bytes to it/'
}

@test "make demo: with the router all wait for who does not read, else only its sender" {
    "$BIN/demo" "$BIN/chat-hurried" 100 >"$BATS_TEST_TMPDIR/demo"
    cat "$BATS_TEST_TMPDIR/demo"

    figures "messages a second: before"
    ((directory > 0 && router > 0))
    figures "while the server waits for 2"
    ((directory > 0 && router == 0))
    figures "after it dropped 2"
    ((directory > 0 && router > 0))

    diff - <(story directory) <<'END'
3 and 4 talk
1 floods 2, who does not read
the log: user 1 waits for room at user 2
5 asks to join
5 is in
the log: user 2 left: did not read for 1 s; lost: N bytes to it, 0 from it
END
    diff - <(story router) <<'END'
3 and 4 talk
1 floods 2, who does not read
the log: the router waits for room at user 2
5 asks to join
the log: user 2 left: did not read for 1 s; lost: N bytes to it, 0 from it
5 is in
END
}

@test "make demo tells why there is no server" {
    run -1 "$BIN/demo" "$BATS_TEST_TMPDIR/nothing"
    [[ $output == *"/nothing: No such file or directory"*"demo: the server ended" ]]
}
