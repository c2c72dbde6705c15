#!/usr/bin/env bash
# readme.sh -- checks that a README is still true.
#
#     readme.sh replay README     plays its transcripts, with the ./chat and test/bin/signals
#                                 that were built; needs script (util-linux), which makes
#                                 terminals
#     readme.sh names README      looks up each name in it: see "Names" below
#
# If something is not true, readme.sh prints it and exits with status 1.  replay stops
# at the first wrong line.  names prints all wrong names.
#
# A transcript is a block fenced with ```console.  It looks like a terminal:
#
#     # terminal 2: user 1    the next lines are in terminal 2 (1 to 9)
#     $ COMMAND               typed at the prompt of the shell; a \ at the end continues
#                             it on the next line
#     ^C  ^Z                  this key is pressed; the program's answer may follow it
#     {"recipient_id":...     typed while websocat (or a file named client) runs, like
#                             all lines except {"sender_id":... and websocat...
#     anything else           a line that the program prints
#     ...                     alone: any lines; within a line: any characters
#
# A block without a terminal's name has its own terminal.  There, each command must end,
# and the block must show all its output.  In a named terminal, a program may run on
# when the block ends, and the block need not show its later output.
#
# readme.sh plays the lines in their order.  Each printed line must appear within 20 s.
# A command has begun when it has printed something, when the server has logged
# something, or when it has ended.  So the first websocat in the README is user 1.
#
# At each heading of level 2, readme.sh ends all programs.  Then it starts a new ./chat
# in terminal 1, unless the first command is ./chat or make && ./chat.
#
# Free ports with four digits replace the ports 8080 to 8089.  Two differences need no
# "...": the system chooses ports of five digits, and a machine may or may not have ::1.
#
# A block of another kind may begin with a comment that is only a file name, such as
# "# client.py".  readme.sh saves it as this file, in the directory of the commands.
#
# Order: ends, what a terminal shows, terminals, the lines of a README, names. */

set -u
export LC_ALL=C         # in tr_TR, [a-z] has no i
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PATIENCE=${PATIENCE-20}          # seconds; the server itself waits 10 before it drops a user
TERMINALS='0 1 2 3 4 5 6 7 8 9' # 0 is the one without a name

readme=${2-}
number=0                        # of the line at hand
pid=() shown=() gap=() talks=() # of each terminal: of script; the lines of its output that
                                # were shown; a "..." came last; websocat runs there

# ---- Ends ------------------------------------------------------------------------

fail() {
    printf '%s:%d: %s\n' "$readme" "$number" "$1"
    shift
    if [ $# -gt 0 ]; then
        printf '    %s\n' "$@"
    fi
    exit 1
}

# close_terminal TERMINAL: closes it like a window.  Its programs get SIGHUP.
close_terminal() {
    if [ -n "${pid[$1]-}" ]; then
        kill -HUP "$(cat "$work/$1.shell")"
        wait "${pid[$1]}"
        pid[$1]=
    fi 2>/dev/null
}

close_all() {
    local t
    for t in $TERMINALS; do
        close_terminal "$t"
    done
    rm -rf "$work"
}

# ---- The screen of a terminal ----------------------------------------------------

# Does the shell show its prompt?  The prompt begins with an invisible mark.
is_idle() {
    [ "$(tail -c 3 "$work/$1.out")" = $'\005$ ' ]
}

# Prints the lines of output that the README has not shown yet.  A prompt does not count
# until there is a command behind it.  Nor does the line about few descriptors.
unseen() {
    sed -e $'s/\r*$//; s/^\005//; $ s/\005\\$ $//; $ s/^\\$ $//; s/\005/\\\n/; /^chat: room for /d' "$work/$1.out" |
        tail -n +$((shown[$1] + 1))
}

# Sets $text to the line with the README's ports and addresses in place of real ones.
normalize() {
    text=${1//:$prefix/:808}
    text=${text//-p $prefix/-p 808}
    text=${text//localhost $prefix/localhost 808}
    text=${text//\[::1\]/127.0.0.1}
    text=${text// and 127.0.0.1:8080/}
    while [[ $text =~ ^(.*127\.0\.0\.1:)[0-9]{5}(.*)$ ]]; do
        text=${BASH_REMATCH[1]}PORT${BASH_REMATCH[2]}
    done
}

# Does the next line of this terminal match the pattern?  After a "...", any later line
# may match.  If no line does, $got is the next line.
find_line() {
    local t=$1 pattern=$2 n=0 line whole=1
    got=
    while [ $whole ]; do
        IFS= read -r line || whole=
        n=$((n + 1))
        normalize "$line"
        # The last line may be incomplete, and match later.
        if [ "$whole$text" ] && [[ $text == $pattern ]]; then
            shown[t]=$((shown[t] + n)) gap[t]=
            return 0
        elif [ $whole ] && [ -z "${gap[t]}" ]; then
            got=$text
            return 1
        fi
    done < <(unseen "$t")
    return 1
}

# shows TERMINAL LINE [typed]: waits until the terminal shows this line
shows() {
    local t=$1 is_typed=${3-} was_idle pattern deadline=$((SECONDS + PATIENCE))
    normalize "$2"
    pattern=$(sed 's/[^[:alnum:]]/\\&/g; s/\\\.\\\.\\\./*/g' <<<"$text")
    while :; do
        was_idle=               # looked at first, or its last line could be missed
        [ -n "$is_typed" ] || ! is_idle "$t" || was_idle=1
        find_line "$t" "$pattern" && return
        if [ "$got$was_idle" ] || ((SECONDS > deadline)); then
            fail "the terminal shows something else" "expected: $2" \
                "got:      ${got:-nothing like it}"
        fi
        sleep 0.02
    done
}

# ---- Terminals -------------------------------------------------------------------

press() {
    printf '%b' "$2" 1<>"$work/$1.in"
}

# type_line TERMINAL LINE: types the README's line, without its prompt
type_line() {
    local typed=${2#$ }
    printf '%s\n' "${typed//808/$prefix}" 1<>"$work/$1.in"
    shows "$1" "$2" typed
}

# Waits until the program has ended.  The README must have shown all its output.
await_end() {
    local t=$1 rest deadline=$((SECONDS + PATIENCE))
    [ -n "${pid[t]-}" ] || return
    until is_idle "$t"; do
        ((SECONDS <= deadline)) || fail "the command does not end"
        sleep 0.02
    done
    rest=$(unseen "$t" | tr -d '\0')
    if [ -z "${gap[t]}" ] && [ -n "$rest" ]; then
        fail "the terminal shows more before this" "$rest"
    fi
}

open_terminal() {
    local t=$1
    rm -f "$work/$t.in"
    mkfifo "$work/$t.in"
    : >"$work/$t.out"
    # A program that was started with & ignores SIGINT, and its children would, too.
    SHELL=/bin/sh TERMINAL=$t WORK=$work "$ROOT/test/bin/signals" default all \
        script -qfc 'exec bash --noprofile --rcfile "$WORK/rc" --noediting -i' /dev/null \
        <>"$work/$t.in" >"$work/$t.out" 2>&1 3>&- 4>&- &
    pid[t]=$! shown[t]=0 gap[t]= talks[t]=
    await_end "$t"
}

# Writes the settings that the shell of each terminal reads.
write_settings() {
    mkdir "$work/home" "$work/bin"
    ln -s "$ROOT"/* "$work/home"
    rm -f "$work/home/chat"
    printf '#!/bin/sh\nexec "%s/chat" -p %s0 "$@"\n' "$ROOT" "$prefix" >"$work/home/chat"
    printf '#!/bin/sh\n' >"$work/bin/make"          # all is made
    chmod +x "$work/home/chat" "$work/bin/make"
    printf 'no-styled-output\n' >"$work/.curlrc"    # no bold type
    cat >"$work/rc" <<'END'
stty echo cols 500
echo $$ >"$WORK/$TERMINAL.shell"
unset PROMPT_COMMAND
export PATH="$WORK/bin:$PATH" CURL_HOME="$WORK" no_proxy='*'
cd "$WORK/home"
PS1=$'\005$ ' PS2=
END
}

size_of_log() {
    [ -z "$server" ] || wc -c <"$work/$server.out"
}

# begins TERMINAL LOG: waits until the command in this terminal has begun
begins() {
    local t=$1 log=$2 deadline=$((SECONDS + PATIENCE))
    until is_idle "$t" || unseen "$t" | grep -q '' || [ "$(size_of_log)" != "$log" ]; do
        ((SECONDS <= deadline)) || fail "nothing came of that command"
        sleep 0.02
    done
}

# Stops the server last, so that it need not wait for clients.
end_section() {
    local t
    for t in $TERMINALS; do
        [ "$t" = "$server" ] || close_terminal "$t"
    done
    if [ -n "$server" ] && ! is_idle "$server"; then
        press "$server" '\003'
        gap[server]=1
        shows "$server" '^C...'
        gap[server]=1
        await_end "$server"
        type_line "$server" '$ echo $?'
        shows "$server" 0
    fi
    [ -z "$server" ] || close_terminal "$server"
    server=
    is_new=1
}

# ---- The lines of a README -------------------------------------------------------

begin_command() {
    local t=$terminal
    if [ $is_new ] && [[ $1 != './chat'* && $1 != 'make && ./chat'* ]]; then
        terminal=1
        begin_command ./chat
        shows 1 'chat: listening on 127.0.0.1:8080 and [::1]:8080'
        terminal=$t
    fi
    is_new=
    [ -n "${pid[t]-}" ] || open_terminal "$t"
    await_end "$t"
    talks[t]=
    if [[ $1 =~ websocat|client|^fg ]]; then talks[t]=1; fi
    if [[ $1 == *./chat* ]] && { [ -z "$server" ] || is_idle "$server"; }; then
        server=$t
    fi
    log=$(size_of_log)
    type_line "$t" "\$ $1"
}

play() {
    local t=$terminal
    if [[ $1 =~ ^'# terminal '([1-9]) ]]; then
        await_end 0
        terminal=${BASH_REMATCH[1]}
        return
    elif [ $is_typing ]; then
        type_line "$t" "$1"
    elif [[ $1 == '$ '* ]]; then
        begin_command "${1#$ }"
        is_typing=1 played=$((played + 1))
    elif [ -z "${pid[t]-}" ]; then
        fail "nothing runs in this terminal"
    elif [[ $1 == '^C'* || $1 == '^Z'* ]]; then
        [[ $1 == '^C'* ]] && press "$t" '\003' || press "$t" '\032'
        talks[t]=
        shows "$t" "$1"
    elif [ "$1" = '...' ]; then
        gap[t]=1
    elif [ ${talks[t]} ] && [[ $1 != '{"sender_id":'* && $1 != 'websocat'* ]]; then
        type_line "$t" "$1"
    else
        shows "$t" "$1"
    fi
    if [ $is_typing ] && [[ $1 != *\\ ]]; then
        is_typing=
        begins "$t" "$log"
    fi
}

# Reads the first line of a block that is not a transcript.
save_as() {
    file=/dev/null
    if [[ $1 =~ ^('#'|'//'|'<!--'|'/*')\ ([a-z0-9_-]+\.[a-z]+)(' -->'|' */')?$ ]]; then
        file=$work/home/${BASH_REMATCH[2]}
        : >"$file"
    fi
}

# Finds three digits that begin ports that seem to be free.
free_prefix() {
    local n
    while n=$((RANDOM % 800 + 200)); do
        if ! { : <"/dev/tcp/127.0.0.1/${n}0" || : <"/dev/tcp/127.0.0.1/${n}1"; } 2>/dev/null; then
            echo "$n"
            return
        fi
    done
}

replay() {
    local line kind= file= log= terminal=0 server= is_new=1 is_typing= played=0
    prefix=$(free_prefix)
    work=$(mktemp -d) || exit 1
    trap close_all EXIT
    write_settings
    while IFS= read -r line <&4; do
        number=$((number + 1))
        case $kind:$line in
            :'## '*) end_section ;;
            :'```console'*) kind=console terminal=0 ;;
            :'```'*) kind=other file= ;;
            *:'```') kind= && await_end 0 ;;
            console:*) play "$line" ;;
            other:*)
                [ -n "$file" ] || save_as "$line"
                printf '%s\n' "${line//808/$prefix}" >>"$file" ;;
        esac
    done
    end_section
    echo "$played commands played"
}

# ---- Names -----------------------------------------------------------------------
#
# These must exist wherever they stand in the README:
#
#     [text](#heading)    the heading is in the README
#     [text](FILE)        the file exists
#     FILE                a name that ends in .c .h .sh .md .py .html .bats or .bash, or
#                         begins with test/; a * is a pattern.  The file is in the tree,
#                         or the Makefile builds it, or a block of the README makes it
#     `name` in FILE      the file defines a function or has a constant with this name;
#                         the same for `name` at the top of FILE
#     make TARGET         (in `code`, after "$ ", in an indented block) a target of the
#                         Makefile
#
# These must exist if they stand in `code`, but not in blocks:
#
#     `name`              a word of the program: a function, a constant, a field, a call.
#                         Comments do not count.  A string of one word does
#     name(  name[  a_b   the same, also as a part of longer code
#     `struct name`       a struct that the program declares
#     `NAME=...`          a variable of the Makefile, also after `make`
#     `-x`  `./chat -x`   an option that chat -h lists.  `-x` alone may also be an option of
#                         another program in a block or in the Makefile
#     `./chat -a NAME`    an approach that chat -h lists; the same for `-a NAME`
#
# Blocks fenced with ```text are pictures.  In them, these must exist: a_b, A_B, and
# words of three or more capitals.
#
# The next list has names of POSIX, of tools and of other systems that the program does
# not use.  If a README names another one, add it here:
OTHERS='SO_REUSEPORT bash channel epoll fg hi http isatty kqueue malloc nil pipx script
    strftime websocat'

wrong() {
    echo "$readme: $1"
    status=1
}

# Prints the anchors that GitHub makes of the headings.
anchors() {
    awk '/^```/ { fenced = !fenced } !fenced && /^#+ /' "$readme" | tr 'A-Z' 'a-z' |
        sed 's/^#* //; s/[^a-z0-9 _-]//g; s/ /-/g'
}

check_links() {
    local to
    for to in $(grep -o '](\([^)]*\))' "$readme" | tr -d '] ()'); do
        case $to in
            *://*) ;;
            '#'*) anchors | grep -qxF -- "${to#?}" || wrong "there is no heading $to" ;;
            *) [ -e "$ROOT/${to%%#*}" ] || wrong "there is no file $to" ;;
        esac
    done
}

check_files() {
    local name
    for name in $(sed 's|[a-z]*://[^ )>]*||g' "$readme" | tr -c 'A-Za-z0-9_./*-' '\n' |
            sed 's/[.]*$//' | grep -E '^[A-Za-z*].*\.(c|h|sh|bats|bash|md|py|html)$|^test/' |
            sort -u); do
        (cd "$ROOT" && ls -d $name) >/dev/null 2>&1 || grep -qF -- "-o $name " "$ROOT/Makefile" ||
            grep -qE "^(#|//|<!--|/\*) $name( |$)" "$readme" || wrong "there is no file $name"
    done
}

# is_in NAME FILE: a constant may stand anywhere; others must be defined in column 1
is_in() {
    case $1 in
        *[a-z]*) grep -qwE "^[a-z#}].*$1" "$ROOT/$2" ;;
        *) grep -qw "$1" "$ROOT/$2" ;;
    esac
}

check_places() {
    local name file
    while read -r name file; do
        is_in "$name" "$file" 2>/dev/null || wrong "there is no $name in $file"
    done < <(tr '\n' ' ' <"$readme" |
                grep -oE '`[A-Za-z0-9_]+(\(\))?` (at the top of|in) `?[A-Za-z0-9_/-]+\.[a-z]+' |
                tr -d '`()' | sed 's/ at the top of / /; s/ in / /')
}

check_targets() {
    local target
    for target in $(grep -oE '(`|^\$ |^    )make [a-z][a-z-]*' "$readme" | sed 's/.* //'); do
        grep -q "^$target:" "$ROOT/Makefile" || wrong "there is no make $target"
    done
}

# Prints the words of the program, one on a line: names, and strings of one word, with
# plain or escaped quotes.
words() {
    awk '
        function print_words(code,    n, word, i) {
            n = split(code, word, /[^A-Za-z0-9_]+/)
            for (i = 1; i <= n; i++)
                print word[i]
        }
        function print_string(text,    n, part, i) {
            n = split(text, part, /\\?"/)
            for (i = 1; i <= n; i++)
                if (part[i] ~ /^[A-Za-z_-]+$/)
                    print part[i]
        }
        {
            gsub(/\047\\?.\047/, "")            # characters: one may be a quote
            while ($0 != "")
                if (in_comment) {
                    end = index($0, "*/")
                    $0 = end ? substr($0, end + 2) : ""
                    in_comment = !end
                } else if (match($0, /^"([^"\\]|\\.)*"/)) {
                    print_string(substr($0, 1, RLENGTH))
                    $0 = substr($0, RLENGTH + 1)
                } else if (match($0, /^\/\*/)) {
                    in_comment = 1
                    $0 = substr($0, 3)
                } else {
                    match($0, /^.[^"\/]*/)
                    print_words(substr($0, 1, RLENGTH))
                    $0 = substr($0, RLENGTH + 1)
                }
        }' "$ROOT"/*.[ch] | sort -u
}

# Prints the pieces of `code` in the README, one on a line, without their quotes.
code() {
    awk '/^[> ]*```/ { fenced = !fenced; next } !fenced' "$readme" | tr '\n' ' ' |
        grep -oE '`[^`]+`' | tr -d '`' | sort -u
}

# blocks [KIND]: prints the lines of fenced blocks
blocks() {
    awk -v kind="${1-}" '
        /^[> ]*```/ { fenced = !fenced; wanted = fenced && index($0, "```" kind); next }
        wanted' "$readme"
}

check_name() {
    grep -qxF -e "$1" <<<"$words" || [[ " "$OTHERS" " == *[[:space:]]"$1"[[:space:]]* ]] ||
        wrong "there is no ${2-$1}"
}

check_variable() {
    grep -qF -e "\$($1)" -e "\$($1:" "$ROOT/Makefile" || wrong "there is no $1 in the Makefile"
}

# check_options CODE: checks code that begins with an option or with the server's name
check_options() {
    local word before=
    set -f
    for word in $1; do
        if [ "$before" = -a ]; then
            grep -qE "^  (-a [A-Z]* +| +)$word: " <<<"$usage" || wrong "there is no approach $word"
        fi
        before=$word
        case $word in
            -[A-Za-z]) ;;
            -[A-Za-z]*) grep -qF -- " $word" "$ROOT/Makefile" || wrong "there is no $word"; continue ;;
            *) continue ;;
        esac
        grep -qwF -- "$word" <<<"$usage" || { [[ $1 == -* ]] && blocks | grep -qF -- " $word "; } ||
            wrong "there is no option $word"
    done
    set +f
}

# check_names TEXT PATTERN: checks the names in TEXT that match PATTERN
check_names() {
    local name
    for name in $(grep -oE "$2" <<<"$1" | tr -c 'A-Za-z0-9_\n' '\n' | sort -u); do
        check_name "$name"
    done
}

check_code() {
    local text words usage
    words=$(words)
    usage=$("$ROOT/chat" -h) || wrong "there is no ./chat to ask: make it first"
    while IFS= read -r text; do
        case $text in
            -* | './chat '* | 'chat -'*) check_options "$text" ;;
            'struct '*) grep -qE "^(static )?$text \{" "$ROOT"/*.[ch] || wrong "there is no $text" ;;
            *[!A-Za-z0-9_]* | [0-9]*)
                check_names "$text" '[A-Za-z_][A-Za-z0-9_]*[[(]|[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]*' ;;
            *) check_name "$text" ;;
        esac
    done < <(code)
    for text in $(code | grep -E '^(make .*)?[A-Z]+=' | grep -oE '[A-Z]+='); do
        check_variable "${text%=}"
    done
    check_names "$(blocks text)" '[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]*|[A-Z][A-Z0-9]{2,}'
}

names() {
    local status=0
    check_links
    check_files
    check_places
    check_targets
    check_code
    return $status
}

case ${1-}${2:+ README} in
    'replay README' | 'names README') exec 4<"$2" && "$1" ;;
    *) sed -n 's/^#     \(readme.sh [a-z]* README\).*/usage: \1/p' "$0" >&2; exit 2 ;;
esac
