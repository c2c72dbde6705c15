#!/bin/sh
# Runs the Autobahn cases of sections 1 to 7, 9 and 10 against test/bin/echo, and counts.
# "NON-STRICT" is not good enough: every case has to be OK or INFORMATIONAL.
set -eu
cd "$(dirname "$0")/bin"

if ! command -v kosoku >/dev/null; then
    echo "make conformance needs kosoku: pip install kosoku" >&2
    exit 1
fi
rm -rf autobahn
mkfifo autobahn.fifo 2>/dev/null || true
./echo >autobahn.fifo &
echo=$!
trap 'kill $echo; rm -rf autobahn autobahn.fifo' EXIT
read -r line <autobahn.fifo
kosoku -p 4 -x '12.*' -x '13.*' -o autobahn "127.0.0.1:${line##*:}" || true
total=$(grep -o '"behavior": "[A-Z-]*"' autobahn/index.json | wc -l)
good=$(grep -oE '"behavior(Close)?": "(OK|INFORMATIONAL)"' autobahn/index.json | wc -l)
echo "$total Autobahn cases, $((2 * total - good)) of $((2 * total)) verdicts not OK or INFORMATIONAL"
[ "$total" -eq 301 ] && [ "$good" -eq 602 ]
