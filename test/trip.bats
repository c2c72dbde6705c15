#!/usr/bin/env bats
# What "make trip" prints.  That it agrees with README.md: see readme.bats.

bats_require_minimum_version 1.7.0
load helper

teardown() {
    :
}

# Sets copy to a folder with the server's files and make trip.
copy_server() {
    copy=$BATS_TEST_TMPDIR/copy
    mkdir -p "$copy/test"
    cp "$ROOT"/*.[ch] "$ROOT/Makefile" "$copy"
    cp -R "$BATS_TEST_DIRNAME/advice.sh" "$BATS_TEST_DIRNAME/measure" "$copy/test"
}

@test "make trip: its lines fit 80 columns, with each approach" {
    local approach
    for approach in directory router; do
        trip_or_skip -a "$approach"
        contains "$(cat "$BATS_TEST_TMPDIR/trip")" "4c d8 53 58" "7b 22 72 65" "recipient_id: 2" \
            "${approach}_send " "out_used 34" "out_used 0" 'User 2 reads    {"sender_id":1,"message":"olé"}' \
            " park " "waits for room at user 2" "continue_parked " " put_message " \
            '{"sender_id":1,"message":"still there?"}'
        run ! grep -E '^.{81}' "$BATS_TEST_TMPDIR/trip"
        run ! grep -F '  ? ' "$BATS_TEST_TMPDIR/trip"
    done
}

# Somebody who did an exercise may have renamed or removed what the trip shows.
@test "make trip names a function that the server no longer has, and shows the others" {
    trip_or_skip
    copy_server
    sed 's/must_wait/has_room/g; s/held/kept/g' "$ROOT/chat.c" >"$copy/chat.c"
    run make -s -C "$copy" trip
    echo "$output"              # shown if the test fails
    [ "$status" -eq 0 ]
    contains "$output" "make trip: the server no longer has must_wait" " send_or_park " " park " " continue_client " "There is no member named held" \
        '{"sender_id":1,"message":"still there?"}'
}

@test "make trip ends with the reason if the server does" {
    trip_or_skip
    copy_server
    sed '/^static void put_message/,/^{/s/^{/{ assert(m->from != 1);/' "$ROOT/chat.c" >"$copy/chat.c"
    run ! make -s -C "$copy" trip
    contains "$output" " deliver " "make trip: the server " "m->from != 1"
}

@test "make trip ends quietly if nobody reads on" {
    trip_or_skip
    run -0 bash -o pipefail -c 'sh "$0" 2>&1 | head -n 1' "$BATS_TEST_DIRNAME/measure/trip.sh"
    starts_with "$output" "Each line is a function"
    [ ${#lines[@]} -eq 1 ]
}

@test "make trip without gdb says what to install" {
    local tools=$BATS_TEST_TMPDIR/tools
    mkdir "$tools"
    ln -s "$(command -v dirname)" "$tools/dirname"
    printf '#!/bin/sh\n' >"$tools/dnf"
    chmod +x "$tools/dnf"
    run -1 env PATH="$tools" /bin/sh "$BATS_TEST_DIRNAME/measure/trip.sh"
    [ "$output" = "make trip needs gdb with Python, and Linux or a BSD: dnf install gdb" ]
}
