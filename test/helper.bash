# helper.bash -- starts the server under test, and stops it after each test.
#
# A test file begins with
#     bats_require_minimum_version 1.7.0
#     load helper
# and then each test starts the server it needs:
#     start_chat [hurried|tiny] [OPTION...]
#     play <<END ... END          a script for test/peer.c, see "peer -h"

ROOT=$BATS_TEST_DIRNAME/..
BIN=$BATS_TEST_DIRNAME/bin

# start_chat [hurried|tiny] [OPTION...]: starts the server on a free port.  Sets PORT, and WHERE to
# the line that says where it listens.
# The "hurried" server has deadlines of about 1 s.  The "tiny" one also has only 4 slots.
start_chat() {
    local binary=$ROOT/chat where line port=':([0-9]+)([^]0-9]|$)'      # not in [::1]
    case ${1-} in
        hurried | tiny) binary=$BIN/chat-$1; shift ;;
    esac
    where=$(mktemp -u "$BATS_TEST_TMPDIR/where.XXXXXX")
    mkfifo "$where"
    export CHAT_LOG=$BATS_TEST_TMPDIR/log
    "$binary" -p 0 "$@" >"$where" 2>"$CHAT_LOG" 3>&- &
    export CHAT_PID=$!
    read -r -t 10 line <"$where" || line=
    if ! [[ $line == "chat: listening on "* && $line =~ $port ]]; then
        echo "chat did not start: $line"
        return 1
    fi
    PORT=${BASH_REMATCH[1]} WHERE=$line
}

# Waits for a server that has got its signal, and returns its exit status.  (A second
# signal would end the server at once.)
await_end() {
    local pid=$CHAT_PID tries=0
    CHAT_PID=
    while kill -0 "$pid" 2>/dev/null && ((++tries < 1000)); do
        sleep 0.01
    done
    ((tries < 1000)) || kill -KILL "$pid"       # it hangs
    wait "$pid"
}

# Stops the server with SIGTERM.  Fails if its exit status is not 0.
stop_chat() {
    if [ -n "${CHAT_PID-}" ]; then
        kill -CONT "$CHAT_PID" 2>/dev/null || true      # if a test left it stopped
        kill "$CHAT_PID" 2>/dev/null || true
        await_end
    fi
}

setup() {
    CHAT_PID=
}

teardown() {
    stop_and_show_log
}

# bats shows the output only if the test failed.
stop_and_show_log() {
    local status=0
    stop_chat || status=$?
    echo "--- the server's exit status: $status; the end of its log:"
    tail -n 100 "$CHAT_LOG" 2>/dev/null || true
    return $status
}

play() {
    "$BIN/peer" "$PORT"
}

# eventually COMMAND...: repeats the command until it succeeds, for up to 10 s.
eventually() {
    local deadline=$((SECONDS + 10))
    until "$@"; do
        if ((SECONDS > deadline)); then
            echo "never came true: $*"
            return 1
        fi
        sleep 0.05
    done
}

# within SECONDS COMMAND...: kills it if it has not ended by then.
within() {
    local deadline=$((SECONDS + $1)) pid
    "${@:2}" 3>&- &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        [ "$SECONDS" -le "$deadline" ] || kill -KILL "$pid"
        sleep 0.02
    done
    wait "$pid"
}

logged() {
    grep -qF -- "$*" "$CHAT_LOG"
}

# Checks.  bash 3.2 goes on after a [[ ]] or (( )) that fails, and after any in a list with
# &&, but not after a function that fails.

# contains TEXT PART...: the parts stand in the text, in this order
contains() {
    local rest=$1 part
    for part in "${@:2}"; do
        case $rest in
            *"$part"*) rest=${rest#*"$part"} ;;
            *) printf 'there is no "%s" in:\n%s\n' "$part" "$1"; return 1 ;;
        esac
    done
}

lacks() {
    case $1 in
        *"$2"*) printf 'there is "%s" in:\n%s\n' "$2" "$1"; return 1 ;;
    esac
}

starts_with() {
    case $1 in
        "$2"*) ;;
        *) printf 'this does not start with "%s":\n%s\n' "$2" "$1"; return 1 ;;
    esac
}

need() {
    command -v "$1" >/dev/null || skip "$1 is not installed"
}

# trip_or_skip [OPTION...]: writes what "make trip" prints to $BATS_TEST_TMPDIR/trip
trip_or_skip() {
    need gdb
    contains "$(gdb -nx -batch -ex 'python print("it has Python")' -ex 'run -V' "$BIN/chat-trip" 2>&1)" \
        "it has Python" "exited normally" || skip "gdb has no Python, or runs no program here"
    sh "$BATS_TEST_DIRNAME/measure/trip.sh" "$@" >"$BATS_TEST_TMPDIR/trip"
}

# need_script: script of util-linux, which runs a command on a terminal of its own.  (Those of
# the BSDs and macOS take other options.)
need_script() {
    need script
    [[ $(script --version 2>/dev/null) == *util-linux* ]] || skip "script is not util-linux's"
    script -qec true /dev/null </dev/null >/dev/null 2>&1 || skip "script gets no terminal here"
}

# answer REQUEST: prints everything that the server sends until it closes.  (A script
# for peer can look for words in a body, but cannot compare whole bodies.)
answer() {
    local text
    exec 4<>"/dev/tcp/127.0.0.1/$PORT"
    printf "$1" >&4
    IFS= read -r -t 10 -d '' text <&4 || true
    exec 4>&-
    printf '%s' "$text"
}

content_length() {
    sed -n 's/^Content-Length: \([0-9]*\).$/\1/p' <<<"$1"
}

# The functions below print parts of scripts.

# stuffed [LINE...]: user 1, R, does not read, and its outbox is full.  User 2, F, sends
# it twenty big messages: some are delivered, then F is parked.  The LINEs are played
# before F sends.
stuffed() {
    printf '%s\n' 'R rcvbuf 4096' 'R join' 'F join' "$@" 'F say R 60000 20' \
        'log user 2 waits for'
}

# repeat N LINE: prints the line N times.
repeat() {
    printf "$2\n%.0s" $(seq "$1")
}
