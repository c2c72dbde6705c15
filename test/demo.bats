#!/usr/bin/env bats
# What "make demo" prints about a user that does not read, here with short deadlines.

bats_require_minimum_version 1.7.0
load helper

teardown() {
    :
}

# figures WORDS: sets directory and router to the figures of the row that contains WORDS
figures() {
    local row
    row=$(grep -F -- "$1" "$BATS_TEST_TMPDIR/demo") || return
    read -r directory router <<<"$(awk '{ print $(NF - 1), $NF }' <<<"$row")"
}

# story APPROACH: prints the lines about this approach, without the bars
story() {
    sed -n "/^chat -a $1:/,/^\$/p" "$BATS_TEST_TMPDIR/demo" |
        grep -vE '^ +[0-9.]+ s |-a |^$' |
        sed 's/^ *//; s/lost: [1-9][0-9]* bytes to it/lost: N bytes to it/'
}

@test "make demo: a user that does not read stops the whole router, but only its sender in the directory" {
    "$BIN/demo" "$BIN/chat-hurried" 100 >"$BATS_TEST_TMPDIR/demo"
    cat "$BATS_TEST_TMPDIR/demo"

    figures "messages a second: before"
    [ "$directory" -gt 0 ]
    [ "$router" -gt 0 ]
    figures "while the server waits for 2"
    [ "$directory" -gt 0 ]
    [ "$router" -eq 0 ]
    figures "after it dropped 2"
    [ "$directory" -gt 0 ]
    [ "$router" -gt 0 ]

    diff - <(story directory) <<'END'
1 floods 2, and 2 does not read
log: user 1 waits for room at user 2
5 asks to join
5 is in
log: user 2 left: did not read for 1 s; lost: N bytes to it, 0 from it
END
    diff - <(story router) <<'END'
1 floods 2, and 2 does not read
log: the router waits for room at user 2
5 asks to join
log: user 2 left: did not read for 1 s; lost: N bytes to it, 0 from it
5 is in
END
}

# A bar of 24 signs stands for the number of messages in the first bar.  Each bar may be
# wrong by one sign.  A bar that is too long for the line ends with "+".
@test "make demo draws both approaches at the same scale, each on a screen of 80 by 24" {
    "$BIN/demo" "$BIN/chat-hurried" 100 >"$BATS_TEST_TMPDIR/demo"
    cat "$BATS_TEST_TMPDIR/demo"

    # While the server waits, "make demo" prints up to 12 figures.  The cursor takes a line.
    awk '/^chat -a /              { lines = 12 + 1; waits = 0 }
        /^ +[0-9.]+ s / && waits { next }
                                 { lines++ }
        / floods /               { waits = 1 }
        / left: /                { waits = 0 }
        /^$/ && lines > 24 + 1   { print "too high: " lines; bad = 1 }
        END                      { exit bad }' "$BATS_TEST_TMPDIR/demo"
    awk 'length > 80 { print "too long: " $0; bad = 1 } END { exit bad }' "$BATS_TEST_TMPDIR/demo"
    awk '/^ +[0-9.]+ s / {
            if (!unit)
                unit = $3 / 24
            off = length($4) - $3 / unit
            if (off > 1 || (off < -1 && $4 !~ /\+$/)) {
                print "another scale: " $0
                bad = 1
            }
            bars += length($4) > 0
        }
        END { exit bad || bars < 10 }' "$BATS_TEST_TMPDIR/demo"
}

@test "make demo says why its server did not start" {
    run -1 "$BIN/demo" "$BATS_TEST_TMPDIR/nothing"
    contains "$output" "/nothing: No such file or directory" "demo: the server ended"
}
