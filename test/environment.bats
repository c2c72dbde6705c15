#!/usr/bin/env bats
# A server that is started in a strange place: standard descriptors closed, signals blocked or
# ignored, descriptors inherited or few, no hosts file, one IP version, a log that cannot be
# written.

bats_require_minimum_version 1.7.0
load helper

# by CODE [hurried|tiny]: writes a program `chat` to the test's own folder: bash runs CODE, in
# which "$@" is the server and its options.
by() {
    local binary=$ROOT/chat
    [ -z "${2-}" ] || binary=$BIN/chat-$2
    printf '#!/usr/bin/env bash\nset -- "%s" "$@"\n%s\n' "$binary" "$1" >"$BATS_TEST_TMPDIR/chat"
    chmod +x "$BATS_TEST_TMPDIR/chat"
}

# started CODE [hurried|tiny] [OPTION...]: as start_chat, but the server is started by CODE
started() {
    local code=$1
    shift
    case ${1-} in
        hurried | tiny) by "$code" "$1"; shift ;;
        *) by "$code" ;;
    esac
    ROOT=$BATS_TEST_TMPDIR start_chat "$@"
}

is_up() {
    (exec 4<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null
}

# started_mute CODE [OPTION...]: likewise, where the server cannot say which port it has
started_mute() {
    by "$1"
    shift
    start_chat -l 127.0.0.1
    stop_chat
    "$BATS_TEST_TMPDIR/chat" -l 127.0.0.1 -p "$PORT" "$@" </dev/null >/dev/null 2>"$CHAT_LOG" 3>&- &
    CHAT_PID=$!
    eventually is_up
}

# Prints a part of a script: after a signal, the server ends within 4 s.
ends_soon() {
    cat <<'END'
run for i in $(seq 80); do kill -0 $CHAT_PID 2>/dev/null || exit 0; sleep 0.05; done; exit 1
END
}

# ---- Standard descriptors

# All three exist, and none is a pipe without a name or a socket: that would be one of the
# server's own.
standard_descriptors_are_files() {
    local fd file
    [ -d "/proc/$CHAT_PID/fd" ] || return 0
    for fd in 0 1 2; do
        file=$(readlink "/proc/$CHAT_PID/fd/$fd") || file="closed"
        case $file in
            /*) ;;
            *) echo "descriptor $fd is $file"; return 1 ;;
        esac
    done
}

# talks_with_closed REDIRECTIONS
talks_with_closed() {
    echo "--- started with $1"
    started_mute "exec \"\$@\" $1"
    play <<'END'
A join
B join
A say B 20 50
B expect said A 20 50
A text nonsense
A expect notice not delivered
A quiet
B quiet
END
    standard_descriptors_are_files
    play <<END
A join
signal TERM
A expect close 1001
$(ends_soon)
END
    await_end
}

@test "with one standard descriptor closed, the server works, and exits with 0" {
    talks_with_closed '<&-'
    talks_with_closed '>&-'
    talks_with_closed '2>&-'
}

@test "with two standard descriptors closed, the server works, and exits with 0" {
    talks_with_closed '>&- 2>&-'
    talks_with_closed '<&- 2>&-'
    talks_with_closed '<&- >&-'
}

@test "with all three standard descriptors closed, the server works, and exits with 0" {
    talks_with_closed '<&- >&- 2>&-'
}

@test "with only standard error open, the log goes there" {
    started_mute 'exec "$@" <&- >&-'
    play <<'END'
A join
A text {"recipient_id":1,"message":"hi"}
A expect text {"sender_id":1,"message":"hi"}
log user 1 joined from 127.0.0.1:
log user 1 -> user 1: "hi"
END
}

@test "with only standard output open, it gets the first line and no log" {
    started 'exec "$@" 2>&-'
    play <<'END'
A join
A quiet
END
    standard_descriptors_are_files
    stop_chat
    [ ! -s "$CHAT_LOG" ]
}

@test "after an error at the start, the server exits with 1, even if it cannot print the reason" {
    start_chat -l 127.0.0.1
    by 'exec "$@" <&- >&- 2>&-'
    run -1 within 10 "$BATS_TEST_TMPDIR/chat" -l 127.0.0.1 -p "$PORT"
}

# ---- Signals

# with_signals STATE NAME [hurried|tiny] [OPTION...]: starts the server so, see signals.c
with_signals() {
    export BIN
    started "exec \"\$BIN/signals\" $1 $2 \"\$@\"" "${@:3}"
}

# keeps_time STATE NAME: started so, the server keeps all its deadlines
keeps_time() {
    with_signals "$1" "$2" hurried -k 1
    play <<END
H connect
H send "GET / HTTP/1.1\r\n"
H expect http 408
A join
A expect ping
log user 1 left: silent for 2 s
$(stuffed | sed 's/user 2/user 3/')
log user 2 left: did not read for 1 s
B join
clock
signal TERM
B expect close 1001
$(ends_soon)
clock 0 4000
END
    await_end
}

@test "24 sigalrm-blocked: a server that is started with SIGALRM blocked keeps its deadlines" {
    keeps_time blocked ALRM
}

@test "24 sigalrm-blocked: a server that is started with all signals blocked keeps its deadlines" {
    keeps_time blocked all
}

@test "a server that is started with SIGALRM ignored keeps its deadlines" {
    keeps_time ignored ALRM
}

# ended_by SIGNAL NUMBER
ended_by() {
    play <<END
A join
signal $1
A expect close 1001 stopping
$(ends_soon)
log stopping on signal $2
END
    await_end
}

@test "SIGINT, SIGTERM and SIGHUP end a server that was started with them blocked" {
    for end in 'INT 2' 'TERM 15' 'HUP 1'; do
        with_signals blocked all
        ended_by $end
    done
}

@test "SIGHUP from a closed terminal stops the server like SIGTERM" {
    # Nobody knows how these tests were started.
    with_signals default HUP
    ended_by HUP 1
}

@test "if SIGHUP was ignored at the start, the server ignores it" {
    started 'trap "" HUP; exec "$@"'
    play <<'END'
A join
signal HUP
A quiet
signal HUP
A quiet
no log stopping
END
    ended_by TERM 15
}

@test "with nohup, the server runs on when its terminal closes" {
    need nohup
    started 'exec nohup "$@"'
    play <<'END'
A join
signal HUP
A quiet
no log stopping
END
    ended_by TERM 15
}

# flooded: a server whose log is a pipe that nobody reads, so that it stands still in the
# middle of a line; and more signals than any pipe has room for
flooded() {
    mkfifo "$BATS_TEST_TMPDIR/pipe"
    exec 9<>"$BATS_TEST_TMPDIR/pipe"
    started 'exec "$@" 2>"$BATS_TEST_TMPDIR/pipe" 9>&-'
    play <<'END'
A join
A say A 64 5000
A sent
END
    # In a shell of its own: bats looks at each command of this one.
    bash -c 'for ((i = 0; i < 300000; i++)); do kill -s ALRM "$CHAT_PID"; done'
}

read_the_pipe() {
    cat <"$BATS_TEST_TMPDIR/pipe" >"$CHAT_LOG" 3>&- 9>&- &
    exec 9>&-
}

@test "endless signals do not block the server while its log is stuck" {
    flooded
    read_the_pipe
    play <<'END'
patience 10
B join
B quiet
END
}

@test "SIGTERM stops the server even after endless signals" {
    flooded
    kill -s TERM "$CHAT_PID"
    read_the_pipe
    await_end
    eventually logged "stopping on signal 15"
}

# ---- Descriptors

# crowd COUNT: a part of a script: so many clients come, and each joins or is told 503
crowd() {
    local i
    for ((i = 1; i <= $1; i++)); do
        printf 'C%d upgrade\nC%d expect http 101|503\n' $i $i
    done
}

joined() {
    grep -c ' joined from ' "$CHAT_LOG"
}

# The number of clients in the line that names the limit, $1.
room_said() {
    sed -n "s/^chat: room for about \([0-9]*\) clients, not 1024: the descriptor limit is $1 (ulimit -n)\$/\1/p" \
        "$CHAT_LOG"
}

# peer needs descriptors of its own.
need_descriptors() {
    ulimit -Sn "$(ulimit -Hn)"
    [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge $(($1 + 100)) ] \
        || skip "fewer than $(($1 + 100)) descriptors are to be had here"
}

# crowded LIMIT OTHERS: with so many descriptors, OTHERS of which are not for clients, about
# as many get in as the server said, and everybody else is told.
crowded() {
    local said
    said=$(room_said "$1")
    echo "room for: $said"
    [ -n "$said" ]
    [ "$(wc -l <"$CHAT_LOG")" -eq 1 ]
    { echo 'patience 20'
      crowd $(($1 + 20))
      cat <<'END'
C1 say C2 20
C2 expect said C1 20
C1 quiet
C2 quiet
run [ "$(grep -c 'cannot accept' "$CHAT_LOG")" -lt 50 ]
END
    } | play
    echo "joined: $(joined)"
    # "About": a tenth and four more or less.
    [ "$(joined)" -ge $((said - said / 10 - 4)) ]
    [ "$(joined)" -le $((said + said / 10 + 4)) ]
    [ "$(joined)" -ge $(($1 - $2)) ]
    stop_chat
}

@test "with a limit of 32 descriptors, the server says how many slots it has, and answers 503 to all others" {
    started 'ulimit -n 32; exec "$@"'
    crowded 32 22
}

@test "with a limit of 100 descriptors, the server does the same" {
    started 'ulimit -n 100; exec "$@"'
    crowded 100 40
}

@test "with a limit of 256 descriptors, the server does the same" {
    need_descriptors 256
    started 'ulimit -n 256; exec "$@"'
    crowded 256 40
}

@test "with a limit of 1024 descriptors, the server does the same" {
    need_descriptors 1024
    started 'ulimit -n 1024; exec "$@"'
    crowded 1024 40
}

@test "the server raises a low limit of descriptors if it may" {
    need_descriptors 1024
    for limit in 32 100 256; do
        started "ulimit -Sn $limit; exec \"\$@\""
        [ ! -s "$CHAT_LOG" ]
        { printf 'U%d join\n' {1..300}
          echo "U300 quiet"
        } | play
        stop_chat
    done
}

@test "the server does not count inherited descriptors as slots" {
    started 'ulimit -n 100; for fd in {50..79}; do eval "exec $fd</dev/null"; done; exec "$@"'
    crowded 100 70
}

@test "the server does not count inherited descriptors with low numbers as slots, either" {
    started 'ulimit -n 100; for fd in {3..32}; do eval "exec $fd</dev/null"; done; exec "$@"'
    crowded 100 70
}

# used_up: the script from standard input; then the lowest number that the server has not used
# is its limit, so that it gets no descriptor more
used_up() {
    need prlimit
    [ -d "/proc/$CHAT_PID/fd" ] || skip "this system does not tell which descriptors are used"
    { cat
      cat <<'END'
run n=0; while [ -L /proc/$CHAT_PID/fd/$n ]; do n=$((n + 1)); done; prlimit --nofile=$n:$(ulimit -Hn) --pid "$CHAT_PID"
END
    }
}

more_descriptors() {
    echo 'run prlimit --nofile=1000:$(ulimit -Hn) --pid "$CHAT_PID"'
}

@test "when descriptors run out, the server evicts the oldest half-open connection" {
    start_chat
    { used_up <<'END'
A join
H1 connect
H1 send "GET / HTTP/1.1\r\n"
A quiet
H2 connect
H2 send "GET / HTTP/1.1\r\n"
A quiet
END
      cat <<'END'
B join
H1 expect end
H2 silent 1
C join
H2 expect end
A say C 20
C expect said A 20
B quiet
END
    } | play
}

@test "when descriptors run out, the server evicts a connection that has its answer and stays connected" {
    start_chat
    { used_up <<'END'
A join
X connect
X send "BREW / HTTP/1.1\r\n\r\n"
X expect http 405
A quiet
END
      cat <<'END'
# X may linger for 5 s.
clock
B join
clock 0 3000
A say B 20
B expect said A 20
END
    } | play
}

# Checks that a server without free descriptors answers each newcomer with 503.
all_get_503() {
    local i
    { used_up <<'END'
A join
B join
END
      for i in {1..20}; do
          printf '%s\n' "X$i connect" "X$i expect http 503" "X$i expect end"
      done
      cat <<END
A say B 20
B expect said A 20
$(more_descriptors)
C join
C quiet
A quiet
END
    } | play
}

@test "when descriptors run out and no client can be evicted, all new clients get 503" {
    start_chat
    all_get_503
}

# in_empty_dev COMMAND CODE: COMMAND (started or started_mute) starts the server by CODE, in a
# place where /dev is empty
in_empty_dev() {
    unshare -rm mount -t tmpfs none /dev 2>/dev/null || skip "a file system of one's own is not to be had here"
    "$1" "exec unshare -rm sh -c 'mount -t tmpfs none /dev; $2' chat \"\$@\""
}

@test "without /dev/null, the server starts, and has a descriptor in reserve to answer 503" {
    in_empty_dev started 'exec "$@"'
    all_get_503
}

@test "without /dev/null, and with standard descriptors closed, the server works, too" {
    local closed
    for closed in '<&- >&- 2>&-' '>&- 2>&-'; do
        in_empty_dev started_mute "exec \"\$@\" $closed"
        { cat <<'END'
A join
B join
A say B 20 50
B expect said A 20 50
END
          # The log goes nowhere: not into a pipe of the server's, which would be full soon.
          repeat 3000 'A text {'
          echo 'B quiet'
        } | play
        run ! spins 1
        stop_chat
    done
}

# ---- No error makes it spin

# spins SECONDS: does it use more than half of the processor for so long?
spins() {
    local before after
    [ -r "/proc/$CHAT_PID/stat" ] || return 1
    before=$(awk '{ print $14 + $15 }' "/proc/$CHAT_PID/stat")
    sleep "$1"
    after=$(awk '{ print $14 + $15 }' "/proc/$CHAT_PID/stat")
    echo "of $(($1 * $(getconf CLK_TCK))) ticks it used $((after - before))"
    [ $((after - before)) -gt $(($1 * $(getconf CLK_TCK) / 2)) ]
}

# poll fails with EINVAL where it is given more entries than there may be descriptors.
@test "if poll fails again and again, the server does not use up the processor" {
    local users
    users=$(printf 'U%d\n' {1..9})
    need prlimit
    [ -r "/proc/$$/stat" ] || skip "this system does not tell what time a process used"
    start_chat
    { printf '%s join\n' $users
      cat <<'END'
run prlimit --nofile=6:$(ulimit -Hn) --pid "$CHAT_PID"
U1 text {"recipient_id":2,"message":"are you there?"}
run sleep 1
END
    } | play
    run ! spins 1
    if kill -0 "$CHAT_PID" 2>/dev/null; then
        prlimit --nofile=1000 --pid "$CHAT_PID"
        echo 'Z join
Z quiet' | play
    else
        await_end || true
        logged poll
    fi
}

# talks_with_log REDIRECTION: a log that cannot be written is lost, and that is all
talks_with_log() {
    echo "--- with $1"
    started "exec \"\$@\" $1"
    play <<'END'
A join
B join
A say B 20 100
B expect said A 20 100
A reset
B quiet
END
    run ! spins 1
    ended_by_term
}

ended_by_term() {
    kill -s TERM "$CHAT_PID"
    await_end
}

@test "a log that cannot be written does not stop the server, and does not use up the processor" {
    [ -c /dev/full ] || skip "there is no /dev/full"
    talks_with_log '2>/dev/full'
    talks_with_log '2</dev/null'                # not open for writing
    talks_with_log '2> >(exec true)'            # a pipe that nobody reads
}

# curl makes its terminal non-blocking, for example.
@test "a full log stops the server until there is room, also if it does not block, and loses no line" {
    need python3
    mkfifo "$BATS_TEST_TMPDIR/pipe"
    exec 9<>"$BATS_TEST_TMPDIR/pipe"
    started "exec python3 -c 'import os, sys
pipe = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
os.dup2(pipe, 2)
os.execv(sys.argv[2], sys.argv[2:])' \"\$BATS_TEST_TMPDIR/pipe\" \"\$@\" 9>&-"
    play <<'END'
A join
A say A 64 5000
A sent
run ! spins 1
run cat "$BATS_TEST_TMPDIR/pipe" >"$BATS_TEST_TMPDIR/lines" 3>&- 9>&- &
A expect said A 64 5000
A quiet
END
    stop_chat
    eventually grep -q '^stopping' "$BATS_TEST_TMPDIR/lines"
    exec 9>&-
    [ "$(grep -cE '^user 1 -> user 1: "[0-9]{8}[^"]+"$' "$BATS_TEST_TMPDIR/lines")" -eq 5000 ]
}

# ---- Addresses

is_here() {
    play <<<"A refused $1" >/dev/null 2>&1 && return 1
    return 0
}

# has_ipv6: does this machine have ::1?
has_ipv6() {
    (start_chat -l ::1 && stop_chat) >/dev/null 2>&1
}

# with_hosts FILE: starts the server where /etc/hosts has these lines
with_hosts() {
    unshare -rm true 2>/dev/null || skip "a file system of one's own is not to be had here"
    printf "$1" >"$BATS_TEST_TMPDIR/hosts"
    # Nor does a name server help.
    : >"$BATS_TEST_TMPDIR/resolv.conf"
    started 'exec unshare -rm sh -c '\''mount --bind "$BATS_TEST_TMPDIR/hosts" /etc/hosts
        mount --bind "$BATS_TEST_TMPDIR/resolv.conf" /etc/resolv.conf
        exec "$@"'\'' chat "$@"'
}

serves_loopback() {
    play <<'END'
A connect 127.0.0.1
A join
A quiet
END
    if has_ipv6; then
        play <<'END'
A connect ::1
A join
A quiet
END
    fi
}

@test "without a hosts file, the server listens on every loopback address of the machine" {
    with_hosts ''
    serves_loopback
}

@test "a localhost without ::1, or elsewhere, makes no difference" {
    with_hosts '127.0.0.1 localhost\n'
    serves_loopback
    stop_chat
    with_hosts '::1 localhost\n'
    serves_loopback
    stop_chat
    with_hosts '192.0.2.1 localhost\n127.0.0.5 localhost\n'
    serves_loopback
}

# in_a_net COMMANDS: starts the server in a network of its own, after these commands
in_a_net() {
    need ip
    need nsenter
    unshare -rn ip link set lo up 2>/dev/null || skip "a network of one's own is not to be had here"
    by "exec unshare -rn sh -c '$1
        exec \"\$@\"' chat \"\$@\""
}

# play_there: as play, in the network of the server
play_there() {
    nsenter --preserve-credentials -U -n -t "$CHAT_PID" "$BIN/peer" "$PORT"
}

# listens_there LINE: starts the server there; it says this of its port
listens_there() {
    "$BATS_TEST_TMPDIR/chat" -p 8080 >"$BATS_TEST_TMPDIR/said" 2>"$CHAT_LOG" 3>&- &
    CHAT_PID=$! PORT=8080
    eventually test -s "$BATS_TEST_TMPDIR/said"
    [ "$(cat "$BATS_TEST_TMPDIR/said")" = "chat: listening on $1" ]
}

@test "without IPv6, the server listens on 127.0.0.1" {
    CHAT_LOG=$BATS_TEST_TMPDIR/log
    in_a_net 'ip link set lo up && ip address del ::1/128 dev lo'
    listens_there 127.0.0.1:8080
    play_there <<'END'
A join
A quiet
END
}

@test "with only IPv6, the server listens on ::1" {
    CHAT_LOG=$BATS_TEST_TMPDIR/log
    has_ipv6 || skip "this machine has no ::1"
    in_a_net 'ip link set lo up && ip address del 127.0.0.1/8 dev lo'
    listens_there '[::1]:8080'
    play_there <<'END'
A connect ::1
A join
A quiet
END
}

@test "without any loopback address, the server prints one line and exits with 1" {
    in_a_net 'ip link set lo up && ip address flush dev lo'
    run -1 within 10 "$BATS_TEST_TMPDIR/chat" -p 8080
    [ "${#lines[@]}" -eq 1 ]
    starts_with "$output" "chat: cannot listen on "
}
