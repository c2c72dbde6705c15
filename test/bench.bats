#!/usr/bin/env bats
# What "make bench" says about its rows. Its figures are not tested: they depend on the machine.

bats_require_minimum_version 1.7.0
load helper

teardown() {
    :
}

# readme_rows: the names in the README's table of figures
readme_rows() {
    sed -n '/^| work /,/^$/s/^| \([^|]*\) |.*/\1/p' "$ROOT/README.md" | grep -vE '^(work |-)'
}

@test "make bench knows each row by the name that the README has for it" {
    local name count=0
    "$BIN/bench" --help >"$BATS_TEST_TMPDIR/help"
    while read -r name; do
        echo "$name"
        grep -qxF -- "  $name" "$BATS_TEST_TMPDIR/help"
        count=$((count + 1))
    done < <(readme_rows)
    test "$count" -gt 5
}

@test "make bench says which name no row has, and which rows there are" {
    run -2 "$BIN/bench" "ping-pong 1 pair, 2 pairs among idle"
    test "${lines[0]}" = 'bench: no row'"'"'s name contains "2 pairs among idle"'
    test "${lines[2]}" = "  ping-pong 1 pair"
}

@test "make bench takes a name of several words, with a comma in it" {
    run -0 "$BIN/bench" --runs 1 --chat "$BATS_TEST_TMPDIR/nothing" memory of an idle user, KiB
    test "$(grep -c '^  directory ' <<<"$output")" = 1
}
