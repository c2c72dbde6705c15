#!/usr/bin/env bats
# The tests themselves: what they must not use, so that they run, and mean the same, everywhere.

bats_require_minimum_version 1.7.0
load helper

setup() {
    export LC_ALL=C         # in tr_TR, [a-z] has no i
    cd "$BATS_TEST_DIRNAME"
}

teardown() {
    :
}

# not_for_bash_3 FILE...: the lines that bash 3.2 of macOS does not know, or does not heed.
# It goes on after a [[ ]] or (( )) that fails, unless a function or test ends there.
not_for_bash_3() {
    awk '
        function tell(line) { print line; found = 1 }
        FNR == 1 { held = "" }
        held != "" && !/^}/ { tell(held) }
        {
            held = ""
            line = FILENAME ":" FNR ": " $0
        }
        /^ *#/ { next }
        /^ *(\[\[|\(\()/ && !/(\]\]|\)\)) *(\|\||&&)/ { held = line }
        /^ +! / && !/\|\| / { held = line }                           # no bash heeds this one
        /^ *(\[\[|\(\(|\[ ).*(\]\]|\)\)| \]) && / && !/\|\|/ { tell(line) }
        /\{[0-9a-z]+\.\.[0-9a-z]+\.\.|\{0[0-9]+\.\./ { tell(line) }     # {1..9..2} {01..12}
        /\$\{[a-zA-Z_]+(\[[@*]\])?(,|\^|@[A-Z])/ { tell(line) }       # ${name,,} ${name^} ${name@Q}
        /\$\{[^}]*:[ ]*-[0-9][^}]*:|\$\{[^}]*: -[0-9]/ { tell(line) }     # ${name: -1}
        /\$\{[a-zA-Z_]+\[-[0-9]/ { tell(line) }                       # ${list[-1]}
        /(^|[ (])(mapfile|readarray|coproc|wait -[nfp])( |$)/ { tell(line) }
        /(^|[ (])(declare|typeset|local) -[a-zA-Z]*[nAgluI][a-zA-Z]* / { tell(line) }
        /(^|[ (])read( -[a-z]+)* -([Ni] |t *[0-9]*\.[0-9])/ { tell(line) }
        /printf -v [a-z_]+\[|shopt -s (globstar|lastpipe|inherit_errexit)/ { tell(line) }
        /[^|]\|&|&>>|;&/ { tell(line) }
        /\[\[? -[vR] |EPOCH(SECONDS|REALTIME)|BASHPID|BASH_ARGV0|SRANDOM|%\([^)]*\)T/ { tell(line) }
        /exec \{[a-z]/ { tell(line) }
        /\$\047[^\047]*\\[uU][0-9a-fA-F]/ { tell(line) }                 # a character by its number
        /(^|[ ;(])(source|\.) <\(/ { tell(line) }                     # it reads nothing
        # It takes the ) of a case, and a quote in a comment or text, as the end of the $( ).
        /\$\((case .*|[^()<]*<<[^<].*)?$/ { tell(line) }
        END { exit found }
    ' "$@"
}

@test "no test uses a feature that bash 3.2 lacks, or a check that bash 3.2 ignores" {
    not_for_bash_3 $(ls *.bats *.bash prove/*.sh | grep -vx everywhere.bats)
}

@test "features that bash 3.2 lacks and checks that it ignores are reported" {
    local line
    while IFS= read -r line; do
        printf 'f() {\n    %s\n    true\n}\n' "$line" >"$BATS_TEST_TMPDIR/draft.bash"
        run -1 not_for_bash_3 "$BATS_TEST_TMPDIR/draft.bash"
        [ "$output" = "$BATS_TEST_TMPDIR/draft.bash:2:     $line" ]
    done <<'END_OF_LINES'
[[ $x == y* ]]
((x > 0))
[ "$x" = y ] && [ "$y" = x ]
echo {10..90..10}
echo "${x,,}"
echo "${x: -1}"
mapfile -t lines
local -A table
cat |& grep x
cat &>>log
! grep x log
echo {01..12}
echo "${x[-1]}"
wait -n
declare -gA table
read -r -t 0.5 line
read -N 1 key
printf -v list[1] x
shopt -s lastpipe
[ -v name ]
x) y ;&
echo $'\u00e9'
source <(cat)
x=$(
x=$(cat <<END
x=$(case $y in
END_OF_LINES
    # These are allowed: the last line of a function, and a check with its own way out.
    printf '%s\n' 'f() {' '    [[ $x == y ]] || return 1' '    local x=${1:-2}' '    ! grep x y || return 1' \
        '    read -r -t 10 x <<<"$(cat)"' '    [[ $x == y ]]' '}' \
        >"$BATS_TEST_TMPDIR/draft.bash"
    not_for_bash_3 "$BATS_TEST_TMPDIR/draft.bash"
}

# gnu_only FILE...: the lines that name tools which only GNU or Linux has, or options that BSD's
# and macOS's lack.  A test that asks first (need, command -v) may use them.
gnu_only() {
    ! grep -nE '(^|[ (|])(sed -i|timeout|setsid|readlink -f|date -d|stat -c|grep -[a-zA-Z]*P|xargs -r|sort -V|tac) ' "$@" |
        grep -vE ':[0-9]+: *#|gnu_only' || return 1
}

@test "no test uses tools that only GNU has" {
    gnu_only *.bats *.bash
}

# In tr_TR, [a-z] has no i for them.
@test "a test file that gives grep, sed, awk or tr a range of letters sets LC_ALL=C" {
    run grep -lE '^[^#]*(grep|sed|awk|tr) [^|]*(a-z|A-Z)' *.bats *.bash *.sh */*.sh
    [ "${#lines[@]}" -ge 4 ]
    run grep -L 'export LC_ALL=C' "${lines[@]}"
    [ "$output" = "" ]
}

# A client's port may contain any number: `no log` with 408 failed in one of sixty runs.
@test "no test wants a number alone to be absent" {
    run grep -nE '(no log|no body|! logged|! grep|lacks) +["'"'"']?[0-9]+["'"'"']?( |$)' *.bats
    [ "$output" = "" ]
}

# ---- Without bats, or with an old one

# tool NAME [LINE...]: $TOOLS, all that the next run.sh finds, has this program
tool() {
    printf '%s\n' '#!/bin/sh' "${@:2}" >"$TOOLS/$1"
    chmod +x "$TOOLS/$1"
}

run_sh() {
    PATH=$TOOLS /bin/sh "$BATS_TEST_DIRNAME/run.sh"
}

tools() {
    TOOLS=$BATS_TEST_TMPDIR/$1
    mkdir "$TOOLS"
    ln -s "$(command -v dirname)" "$TOOLS/dirname"
}

@test "make test without bats says the one line to type on this very system" {
    tools debian
    tool apt-get
    run -1 run_sh
    [ "$output" = "make test needs bats 1.7 or newer: apt-get install bats" ]
    tools mac
    tool brew
    run -1 run_sh
    [ "$output" = "make test needs bats 1.7 or newer: brew install bats-core" ]
    tools old
    tool apt-get
    tool bats 'echo Bats 1.2.1'
    run -1 run_sh
    [ "$output" = "make test needs bats 1.7 or newer: npm install -g bats" ]
}

@test "make test runs bats through npx if bats is missing or older than 1.7" {
    tools missing
    tool npx 'echo "npx $*"'
    run -0 run_sh
    [ "$output" = "npx --yes bats test" ]
    tool bats 'echo Bats 1.6.1'
    run -0 run_sh
    [ "$output" = "npx --yes bats test" ]
    tool bats 'echo "Bats 1.10.0"'
    run -0 run_sh
    [ "$output" = "Bats 1.10.0" ]
}

@test "make test TEST=test/log.bats runs that file only" {
    tools one
    tool npx 'echo "npx $*"'
    run -0 env PATH="$TOOLS" /bin/sh "$BATS_TEST_DIRNAME/run.sh" test/log.bats
    [ "$output" = "npx --yes bats test/log.bats" ]
    contains "$(make -n -C "$ROOT" test TEST=test/log.bats)" "run.sh test/log.bats"
}
