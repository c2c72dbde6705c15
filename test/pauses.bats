#!/usr/bin/env bats
# Time in which the server did not run counts for no deadline: a signal stopped it, ^Z, ^S on
# the terminal of its log, or a debugger.  Nor is anybody dropped whose answer came meanwhile.

bats_require_minimum_version 1.7.0
load helper

setup() {
    CHAT_PID= TERMINAL=
}

teardown() {
    if [ -n "$TERMINAL" ]; then
        kill -KILL $CHAT_PID "$TERMINAL" 2>/dev/null || true
        CHAT_PID=
    fi
    stop_and_show_log
}

# users_through PAUSE [BEFORE]: four users join, and the lines BEFORE follow.  Then they are
# pinged, and have 3 or 4 s to answer (-k).  The lines PAUSE stop the server for so long or
# longer.  Each stop counts as half a second at most, so a slow machine has a second to spare.
users_through() {
    cat <<END
$(printf 'U%d join\n' {1..4})
${2-}
$(printf 'U%d expect ping\n' {1..4})
$1
# The users slept as well: they take one second more.
run sleep 1
$(printf 'U%d frame op=pong\nU%d answers\n' {1..4}{,})
$(printf 'U%d quiet\n' {1..4})
U1 say U2 20
U2 expect said U1 20
no log left:
END
}

@test "21 paused-server: users that answer slowly after a pause are not dropped" {
    start_chat -k 3
    users_through 'signal STOP
run sleep 3
signal CONT' | play
}

@test "21 paused-server: users that answer slowly after two pauses are not dropped" {
    start_chat -k 3
    users_through 'signal STOP
run sleep 2
signal CONT
signal STOP
run sleep 2
signal CONT' | play
}

# ---- Bytes that came while the server stood still

@test "22 deadline-during-an-interrupted-poll: a request that was completed in that time is answered" {
    start_chat hurried
    play <<'END'
H connect
H send "GET / HTTP/1.1\r\nHost: localhost:8080\r\n"
U join
U quiet
signal STOP
H send "\r\n"
H sent
run sleep 1
signal CONT
H expect http 426
END
}

@test "22 deadline-during-an-interrupted-poll: a user that sent its pong in that time is not dropped" {
    start_chat -k 1
    play <<'END'
A join
A expect ping
signal STOP
A frame op=pong
A sent
run sleep 2
signal CONT
A expect ping
A answers
A quiet
END
}

@test "22 deadline-during-an-interrupted-poll: a recipient that read in that time is not dropped" {
    start_chat hurried
    play <<END
$(stuffed)
signal STOP
R sip 100000
run sleep 2
signal CONT
R expect said F 60000 20
R quiet
F quiet
no log did not read
END
}

@test "signals that interrupt the server do not change its deadlines" {
    start_chat hurried
    play <<'END'
A join
clock
H connect
H send "G"
run for i in $(seq 500); do kill -s ALRM $CHAT_PID; done
H expect http 408
clock 590 4000
A quiet
END
}

# ---- A shell on a terminal

screen() {
    tr -d '\r' <"$CHAT_LOG"
}

shows() {
    screen | grep -qF -- "$1"
}

# keys TEXT: what is typed
keys() {
    printf "$1" >&8
}

# open_terminal: a shell with job control; keys come from descriptor 8, and what it shows is
# the log
open_terminal() {
    need_script
    export CHAT_LOG=$BATS_TEST_TMPDIR/screen
    mkfifo "$BATS_TEST_TMPDIR/keys"
    exec 8<>"$BATS_TEST_TMPDIR/keys"
    LC_ALL=C SHELL=/bin/sh TERM=dumb "$BIN/signals" default all \
        script -qfc "exec bash --norc --noprofile --noediting -i" /dev/null \
        <"$BATS_TEST_TMPDIR/keys" >"$CHAT_LOG" 2>&1 3>&- 8>&- &
    TERMINAL=$!
    keys 'echo ready $((6 * 7))\n'
    eventually shows 'ready 42'
}

# chat_on_terminal OPTION...
chat_on_terminal() {
    export CHAT=$ROOT/chat
    open_terminal
    keys "sh -c 'echo \$\$ >\"\$BATS_TEST_TMPDIR/pid\"; exec \"\$CHAT\" -l 127.0.0.1 -p 0 $*'\n"
    eventually shows 'chat: listening on'
    export CHAT_PID=$(cat "$BATS_TEST_TMPDIR/pid")
    PORT=$(screen | sed -n 's/.*chat: listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p')
}

@test "after ^Z and fg, users that answer slowly are not dropped" {
    chat_on_terminal -k 3
    users_through "run printf '\\032' >&8
log Stopped
run sleep 3
run echo fg >&8" | play
}

@test "after ^S and ^Q on the log's terminal, users that answer slowly are not dropped, and no message is lost" {
    open_terminal
    # Does this system stop a terminal at all?
    keys '\023'
    keys 'echo probe $((6 * 7))\n'
    sleep 0.5
    ! shows 'probe 42' || skip "no terminal of this system is stopped by ^S"
    keys '\021'
    eventually shows 'probe 42'
    kill -KILL "$TERMINAL"
    rm -f "$BATS_TEST_TMPDIR/keys"

    chat_on_terminal -k 3
    # The key is pressed before the pings, so it has arrived when U3 speaks: that is the first
    # line of the log since then, and it stops the server.
    users_through "U3 say U4 20
U4 silent 3000
run printf '\\021' >&8
U4 expect said U3 20" "run printf '\\023' >&8" | play
}

# ---- A debugger

@test "after a breakpoint in a debugger, users that answer slowly are not dropped" {
    export SAID=$BATS_TEST_TMPDIR/gdb
    need gdb
    start_chat -k 4
    gdb -q -batch -p "$CHAT_PID" -ex detach >"$SAID" 2>&1 || true
    grep -q detached "$SAID" || skip "no process may be debugged here"
    # poll is called again behind the message of user 1, if not before.
    users_through "patience 20
run gdb -q -batch -p \$CHAT_PID -ex 'break poll' -ex continue -ex 'shell sleep 5' -ex delete -ex detach >\"\$SAID\" 2>&1 &
run until grep -q '^Breakpoint 1 at' \"\$SAID\"; do sleep 0.05; done
U1 say U2 20
run until grep -qE 'Breakpoint 1(\.[0-9]+)?, ' \"\$SAID\"; do sleep 0.05; done
U3 say U4 20
U4 silent 3000
U2 expect said U1 20
run until grep -q detached \"\$SAID\"; do sleep 0.05; done
U4 expect said U3 20" | play
}
