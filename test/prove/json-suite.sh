#!/bin/sh
# json-suite.sh DIR -- sends the documents of the public JSONTestSuite to the server.
# DIR is the directory test_parsing of the suite.
#
# Each document is sent in three ways: as one more member of a message before the two
# fields, as one behind them, and as the whole message.  Its name says what must happen:
#
#   y_   the message is delivered; the document alone is refused, without the fields
#   n_   the message is refused: with a notice; with Close 1007 if it is not UTF-8; with
#        Close 1009 if it is over the limit of a message
#   i_   the message is delivered or refused
#
# Each document has its own server and its own script for peer.  R, user 1, is the
# recipient, and users 2 to 4 are the senders.  R must get the right messages and no
# others, and the server must exit with status 0.
set -eu

fail() {
    echo "$*" >&2
    exit 1
}

dir=$(cd "${1:-/nowhere}" 2>/dev/null && pwd) && ls "$dir"/[yni]_*.json >/dev/null 2>&1 ||
    fail "make json-suite needs DIR=, a directory with the documents of JSONTestSuite"
cd "$(dirname "$0")/../bin"
limit=65536                     # bytes of a message, in the server

in_hex() {
    od -An -v -tx1 | tr -d ' \n'
}

# send NAME ID HEX: sends HEX in a masked text frame, and expects the result in $verdict
send() {
    size=$((${#3} / 2))
    if [ $size -lt 126 ]; then
        header=81$(printf %02x $((128 + size)))
    elif [ $size -lt 65536 ]; then
        header=81fe$(printf %04x $size)
    else
        header=81ff$(printf %016x $size)
    fi
    printf '%s\n' "$1 join" "$1 hex ${header}00000000$3"
    if [ $verdict = either ]; then
        :
    elif [ $size -gt $limit ]; then
        echo "$1 expect close 1009"
    elif [ $verdict = not-utf8 ]; then
        echo "$1 expect close 1007"
    elif [ $verdict = delivered ]; then
        echo "R expect text {\"sender_id\":$2,\"message\":\"hi\"}"
    else
        echo "$1 expect notice not delivered: byte"
    fi
    printf '%s\n' "$1 shutdown" "$1 expect end"
    [ $verdict = either ] || echo 'R quiet'
}

# document FILE: prints the script for this document
document() {
    case ${1##*/} in
        y_*) verdict=delivered ;;
        i_*) verdict=either ;;
        *) verdict=refused
           iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>&1 || verdict=not-utf8 ;;
    esac
    echo 'R join'
    fields=$(printf '"recipient_id":1,"message":"hi"' | in_hex)
    member=$(printf '"member":' | in_hex)$(in_hex <"$1")
    send Before 2 "7b${member}2c${fields}7d"
    send After 3 "7b${fields}2c${member}7d"
    [ $verdict != delivered ] || verdict=refused
    send Whole 4 "$(in_hex <"$1")"
}

# passes FILE: plays the script against a server
passes() {
    ../../chat -p 0 >suite/where 2>>suite/log &
    chat=$!
    read -r line <suite/where
    status=0
    ./peer "${line##*:}" <"$1" || status=$?
    kill $chat
    wait $chat && [ $status -eq 0 ]
}

# count WORDS FILE
count() {
    grep -c -e "$1" "$2" || true
}

rm -rf suite
mkdir suite
trap 'rm -rf suite' EXIT
mkfifo suite/where
failed=0
for file in "$dir"/[yni]_*.json; do
    document "$file" >suite/script
    cat suite/script >>suite/"$(basename "$file" | cut -c 1)"
    passes suite/script || {
        echo "that was ${file##*/}"
        failed=$((failed + 1))
    }
done
[ $failed -eq 0 ] || fail "$failed documents were judged wrongly"

delivered=$(count 'expect text' suite/y)
echo "y_: $(count 'R join' suite/y) documents, $delivered messages delivered"
echo "n_: $(count 'R join' suite/n) documents, $(count 'expect notice' suite/n) notices," \
    "$(count 'close 1007' suite/n) Close 1007, $(count 'close 1009' suite/n) Close 1009"
echo "i_: $(count 'R join' suite/i) documents," \
    "$(($(count '-> user 1: "hi"' suite/log) - delivered)) messages delivered"
