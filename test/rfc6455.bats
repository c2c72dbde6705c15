#!/usr/bin/env bats
# The functions and tests in the table of rules, prove/rfc6455.md, must exist.

bats_require_minimum_version 1.7.0

setup() {
    export LC_ALL=C         # in tr_TR, [a-z] has no i
    cd "$BATS_TEST_DIRNAME"
}

# check FILE: prints what is wrong in each row, and fails if anything is
check() {
    grep -h '^@test' ./*.bats | sed 's/^@test "\(.*\)" {$/\1/' >"$BATS_TEST_TMPDIR/tests"
    sed -n 's/^    { "\([^"]*\)", BYTES(.*/\1/p' unit.c >"$BATS_TEST_TMPDIR/labels"
    sed -n 's/^[a-z][^(]*[ *]\([a-z_0-9]*\)(.*/\1/p' ../*.c >"$BATS_TEST_TMPDIR/functions"
    awk -F ' *[|] *' '
        FILENAME ~ /tests$/ { test[$0]; next }
        FILENAME ~ /labels$/ { test[$0]; next }
        FILENAME ~ /functions$/ { function_[$0]; next }
        !/^\|/ || /^\|---/ || /^\| section/ { next }
        {
            rows++
            if (NF != 6 || $2 == "" || $3 == "" || $4 == "" || $5 == "")
                wrong("four cells, none of them empty, are wanted")
            if ($4 == "–" && $5 !~ /^(does not apply|not followed): ./)
                wrong("no function, and no reason")
            names = $4
            while (match(names, /`[^`]*`/)) {
                name = substr(names, RSTART + 1, RLENGTH - 2)
                names = substr(names, RSTART + RLENGTH)
                if (!(name in function_))
                    wrong("there is no function " name)
                found++
            }
            names = $5
            shown = 0
            while (match(names, /\*[^*]*\*|`[^`]*`/)) {
                name = substr(names, RSTART + 1, RLENGTH - 2)
                names = substr(names, RSTART + RLENGTH)
                if (!(name in test))
                    wrong("there is no test \"" name "\"")
                shown++
            }
            if ($4 != "–" && shown == 0)
                wrong("no test")
        }
        function wrong(what) { print FILENAME ":" FNR ": " what; bad++ }
        END { print rows " rows, " found " functions"; exit bad > 0 }
    ' "$BATS_TEST_TMPDIR"/{tests,labels,functions} "$1"
}

@test "each rule of RFC 6455 names its function and its test, or a reason" {
    run check prove/rfc6455.md
    echo "$output"
    [ "$status" = 0 ]
    [[ $output =~ ^[0-9]{2,}\ rows,\ [0-9]{2,}\ functions$ ]]
}

@test "a row with a missing function or test is reported" {
    wrong() {
        printf '| section | rule | kept by | shown by |\n|---|---|---|---|\n%s\n' "$1" >"$BATS_TEST_TMPDIR/draft.md"
        run -1 check "$BATS_TEST_TMPDIR/draft.md"
        grep -qF "draft.md:3: $2" <<<"$output"
    }
    wrong '| 5.1 | masks | `unmasked` | `4.2.1 item 3` |' 'there is no function unmasked'
    wrong '| 5.1 | masks | `unmask` | `4.2.1 item 99` |' 'there is no test "4.2.1 item 99"'
    wrong '| 5.1 | masks | `unmask` | *a test that nobody wrote* |' 'there is no test "a test that nobody wrote"'
    wrong '| 5.1 | masks | `unmask` | by and by |' 'no test'
    wrong '| 5.1 | masks | – | later |' 'no function, and no reason'
    wrong '| 5.1 |  | `unmask` | `4.2.1 item 3` |' 'four cells'
}
