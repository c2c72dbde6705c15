#!/usr/bin/env bats
# The page in real browsers: Chromium and Firefox, driven by browser/drive.js.

bats_require_minimum_version 1.7.0
load helper

setup() {
    CHAT_PID=
    DRIVER=
}

teardown() {
    if [ -n "$DRIVER" ]; then
        driver_ended || echo quit >&7
        eventually driver_ended || kill -KILL "$DRIVER"
        exec 7>&- 8<&-
    fi
    cat "$BATS_TEST_TMPDIR/driver.err" 2>/dev/null || true
    stop_and_show_log
}

driver_ended() {
    ! kill -0 "$DRIVER" 2>/dev/null
}

# browse chromium|firefox: starts that browser, or skips the test with a word
browse() {
    local program name
    for name in $1 $1-esr $1-browser google-chrome; do
        program=$(command -v "$name") && break
    done
    [ -n "$program" ] || skip "$1 is not installed"
    need node
    node -e 'require("puppeteer-core")' 2>/dev/null ||
        skip "node does not find puppeteer-core: npm install it, and name its node_modules in NODE_PATH"
    mkfifo "$BATS_TEST_TMPDIR/commands" "$BATS_TEST_TMPDIR/answers"
    node "$BATS_TEST_DIRNAME/browser/drive.js" "$1" "$program" <"$BATS_TEST_TMPDIR/commands" \
        >"$BATS_TEST_TMPDIR/answers" 2>"$BATS_TEST_TMPDIR/driver.err" 3>&- &
    DRIVER=$!
    exec 7>"$BATS_TEST_TMPDIR/commands" 8<"$BATS_TEST_TMPDIR/answers"
    answered "the start of $program"
}

answered() {
    local answer
    IFS= read -r -t 60 answer <&8 || answer="no answer"
    [ "$answer" = ok ] || {
        echo "$*: $answer"
        return 1
    }
}

# page NAME VERB [WORD...]: see drive.js
page() {
    local IFS=$'\t'
    printf '%s\n' "$*" >&7
    answered "$*"
}

# opens NAME [URL [WIDTH HEIGHT]]
opens() {
    page "$1" open "${2:-http://localhost:$PORT/}" "${@:3}"
}

# says NAME ID TEXT: by the keyboard, from the field in which one types the id
says() {
    page "$1" type "$2"
    page "$1" press Tab
    page "$1" type "$3"
    page "$1" press Enter
}

two_pages_talk() {
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    opens Bob
    page Bob sees '#me' 'user 2'
    page Bob sees '#online' '2, users 1 2'
    page Ann sees '#online' '2, users 1 2'
    says Ann 2 'Hi "Bob" \ äöü 🎈'
    page Bob sees '.received' 'user 1: Hi "Bob" \ äöü 🎈'
    page Ann sees '.sent' 'to user 2: Hi "Bob" \ äöü 🎈'
    says Bob 1 'hi Ann'
    page Ann sees '.received' 'user 2: hi Ann'
    page Ann eval 'document.title == "user 1"'
    page Bob close
    page Ann sees '#online' '1, users 1'
    page Ann clean
    run ! logged ": 426: "           # nobody asked for an icon
}

@test "chromium: two pages talk to each other" { two_pages_talk chromium; }
@test "firefox: two pages talk to each other" { two_pages_talk firefox; }

an_unknown_user_is_named() {
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    says Ann 7 'anyone?'
    page Ann sees '.notice' 'server: user 7 is not connected'
    page Ann clean
}

@test "chromium: an unknown user is named" { an_unknown_user_is_named chromium; }
@test "firefox: an unknown user is named" { an_unknown_user_is_named firefox; }

html_arrives_as_text() {
    local evil='<img src=x onerror=alert(1)><script>document.title="owned"</script>'
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    says Ann 1 "$evil"
    page Ann sees '.received' "user 1: $evil"
    page Ann eval 'document.images.length == 0 && document.title == "user 1"'
    page Ann clean
}

@test "chromium: HTML in a message arrives as text" { html_arrives_as_text chromium; }
@test "firefox: HTML in a message arrives as text" { html_arrives_as_text firefox; }

# A user whose message the server did not take is not told that it was sent.
the_end_is_shown() {
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    page Ann type 1
    page Ann press Tab
    page Ann type 'too late'
    stop_chat
    page Ann sees '.closed' 'closed: 1001 the server is stopping'
    page Ann sees '#me' 'not connected'
    page Ann sees '#online' '?'
    page Ann press Enter
    page Ann eval "document.getElementById('send').disabled && document.getElementById('text').value == 'too late'"
    page Ann eval "document.querySelectorAll('.sent, .unsent').length == 0"
    page Ann clean

    start_chat -p "$PORT"
    page Ann press Tab          # Send cannot be reached now: to "Connect again"
    page Ann press Enter
    page Ann sees '#me' 'user 1'
    page Ann press Enter
    page Ann sees '.received' 'user 1: too late'
    page Ann eval "document.getElementById('again').hidden"
    page Ann clean
}

@test "chromium: the server's end is shown, and the page connects again" { the_end_is_shown chromium; }
@test "firefox: the server's end is shown, and the page connects again" { the_end_is_shown firefox; }

# The server is stopped and reads nothing, then it vanishes.  400 messages of 60,000 bytes are
# more than all buffers on the way take.
what_is_not_sent_is_not_shown_as_sent() {
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    kill -STOP "$CHAT_PID"
    # A hidden log is not laid out each time.
    page Ann eval "(() => { log.hidden = true; for (let i = 0; i < 400; i++) { at('to').value = 1; \
at('text').value = 'x'.repeat(60000); at('form').requestSubmit(); } return true; })()"
    page Ann eval "document.querySelectorAll('.unsent').length == 400"
    kill -KILL "$CHAT_PID"
    wait "$CHAT_PID" || CHAT_PID=
    page Ann eval "document.querySelector('.closed').textContent == 'closed: 1006 (no reason given; see the log of the server)'"
    page Ann eval "document.querySelectorAll('.lost').length == 400"
}

@test "chromium: an unsent message is not shown as sent" { what_is_not_sent_is_not_shown_as_sent chromium; }
@test "firefox: an unsent message is not shown as sent" { what_is_not_sent_is_not_shown_as_sent firefox; }

a_name_is_told_the_address() {
    browse "$1"
    start_chat -l 127.0.0.1
    opens Ann "http://pc.localhost:$PORT/"      # browsers take each such name for this machine
    page Ann sees 'code' "chat -o 'http://pc.localhost:$PORT'"
    page Ann sees 'a' "http://127.0.0.1:$PORT"
    page Ann follow
    page Ann sees '#me' 'user 1'
}

@test "chromium: under a name, the page says which address to open instead" { a_name_is_told_the_address chromium; }
@test "firefox: under a name, the page says which address to open instead" { a_name_is_told_the_address firefox; }

the_option_lets_the_name_in() {
    browse "$1"
    start_chat -l 127.0.0.1
    stop_chat
    start_chat -l 127.0.0.1 -p "$PORT" -o "http://pc.localhost:$PORT"
    opens Ann "http://pc.localhost:$PORT/"
    page Ann sees '#me' 'user 1'
}

@test "chromium: the option that such a page names lets it in" { the_option_lets_the_name_in chromium; }
@test "firefox: the option that such a page names lets it in" { the_option_lets_the_name_in firefox; }

thirty_pages_are_open() {
    local i
    browse "$1"
    start_chat
    for i in {1..30}; do
        opens "U$i"
        page "U$i" sees '#me' "user $i"
    done
    page U1 sees '#online' "30, users $(echo {1..30})"
    says U1 30 'hi all the way'
    page U30 sees '.received' 'user 1: hi all the way'
    page U30 clean
}

@test "chromium: thirty pages are open" { thirty_pages_are_open chromium; }
@test "firefox: thirty pages are open" { thirty_pages_are_open firefox; }

a_flood_does_not_stop_the_page() {
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    play <<'END'
B join
B say 1 20 3000
B text {"recipient_id":1,"message":"the last one"}
B quiet
END
    page Ann sees '.received' 'user 2: the last one'
    page Ann eval 'log.childElementCount == 500'
    page Ann eval 'log.scrollTop + log.clientHeight > log.scrollHeight - 30'
    # A user that has scrolled up stays there.
    page Ann eval '(() => { log.scrollTop = 100; return true; })()'
    play <<<$'C join\nC say 1 20\nC quiet'
    page Ann eval "log.lastChild.textContent.startsWith('user 3: ')"
    page Ann eval 'log.scrollTop < 200'
}

@test "chromium: a flood does not stop the page, which shows the last 500 lines" { a_flood_does_not_stop_the_page chromium; }
@test "firefox: a flood does not stop the page, which shows the last 500 lines" { a_flood_does_not_stop_the_page firefox; }

# The answer comes after the end of the connection.
a_late_answer_is_not_shown() {
    browse "$1"
    start_chat
    opens Ann
    page Ann sees '#me' 'user 1'
    page Ann eval "(() => { window.fetch = () => new Promise(r => { window.come = () => r(new Response('online>1, users 1<')); }); \
look(); return true; })()"
    stop_chat
    page Ann sees '#me' 'not connected'
    page Ann eval "(() => { window.come(); setTimeout(() => { window.later = true; }, 100); return true; })()"
    page Ann eval "window.later && at('online').textContent == '?'"
}

@test "chromium: the list of users is not shown after the end of the connection" { a_late_answer_is_not_shown chromium; }
@test "firefox: the list of users is not shown after the end of the connection" { a_late_answer_is_not_shown firefox; }

a_full_server_tells_no_page() {
    local name
    browse "$1"
    start_chat tiny
    for name in Ann Bob Cid; do
        opens $name
    done
    page Ann sees '#online' '3, users 1 2 3'
    opens Dan
    page Dan sees '#me' 'user 4'
    page Ann sees '#online' '?'
}

@test "chromium: a page that a full server does not tell who is online shows a question mark" { a_full_server_tells_no_page chromium; }
@test "firefox: a page that a full server does not tell who is online shows a question mark" { a_full_server_tells_no_page firefox; }

# The fields are so large that a phone does not zoom, the buttons so high that a finger hits them.
fits_a_phone() {
    browse "$1"
    start_chat
    opens Ann "http://localhost:$PORT/" 390 844
    page Ann sees '#me' 'user 1'
    says Ann 1 "$(printf 'W%.0s' {1..200})"
    page Ann sees '.received' "user 1: $(printf 'W%.0s' {1..200})"
    stop_chat
    page Ann sees '#again' 'Connect again'
    page Ann eval 'innerWidth == 390 && document.documentElement.scrollWidth <= 390'
    page Ann eval 'log.scrollWidth <= log.clientWidth'
    page Ann eval '[...document.querySelectorAll("input")].every(e => parseFloat(getComputedStyle(e).fontSize) >= 16)'
    page Ann eval '[...document.querySelectorAll("button, input")].every(e => e.offsetHeight >= 32)'
}

@test "chromium: the page fits a phone" { fits_a_phone chromium; }
@test "firefox: the page fits a phone" { fits_a_phone firefox; }
