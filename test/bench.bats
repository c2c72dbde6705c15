#!/usr/bin/env bats
# The row names of "make bench".  No test checks its figures: they vary by machine.

bats_require_minimum_version 1.7.0
load helper

teardown() {
    :
}

# readme_rows: prints the row names of the README's table of figures
readme_rows() {
    sed -n '/^| work /,/^$/s/^| \([^|]*\) |.*/\1/p' "$ROOT/README.md" | grep -vE '^(work |-)'
}

@test "make bench and the README use the same row names" {
    local name count=0
    "$BIN/bench" --help >"$BATS_TEST_TMPDIR/help"
    while read -r name; do
        echo "$name"
        grep -qxF -- "  $name" "$BATS_TEST_TMPDIR/help"
        count=$((count + 1))
    done < <(readme_rows)
    test "$count" -gt 5
}

@test "make bench lists all rows if a given name matches none" {
    run -2 "$BIN/bench" "ping-pong 1 pair, 2 pairs among idle"
    test "${lines[0]}" = 'bench: no row'"'"'s name contains "2 pairs among idle"'
    test "${lines[2]}" = "  ping-pong 1 pair"
}

@test "make bench accepts a row name of several words with a comma" {
    run -0 "$BIN/bench" --runs 1 --chat "$BATS_TEST_TMPDIR/nothing" memory of an idle user, KiB
    test "$(grep -c '^  directory ' <<<"$output")" = 1
}
